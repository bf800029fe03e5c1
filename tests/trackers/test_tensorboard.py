from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import PluginError
from addkit.plugin import Problem, load_registry
from addkit.trackers.settings import TensorBoardConfig


def build() -> Any:
    spec = load_registry().get("tracker", "tensorboard").spec
    return spec.create(TensorBoardConfig(), Problem())


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package is not installed."""
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)


@pytest.mark.usefixtures("absent")
def test_a_missing_package_is_refused_before_training() -> None:
    with pytest.raises(PluginError) as caught:
        build()
    assert str(caught.value) == (
        'tracker.name = "tensorboard" needs the package tensorboard, which is not installed. '
        'Install it with: pip install "addkit[tensorboard]"'
    )


def seen(folder: Path) -> Iterator[tuple[str, int, float]]:
    """(name, step, value) of every scalar, as TensorBoard would show them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    for name in events.Tags()["scalars"]:
        yield from ((name, one.step, one.value) for one in events.Scalars(name))


def test_scalars_by_step_also_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = str(tmp_path / "run")
    for steps, loss in ((range(1, 6), 1.0), (range(4, 7), 2.0)):
        tracker = build()
        tracker.begin(run, {"seed": 1})
        for step in steps:
            tracker.log(step, {"loss": loss})
        tracker.close()
    found = sorted(seen(tmp_path / "run" / "tensorboard"))
    losses = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert found == [("loss", step, loss) for step, loss in enumerate(losses, 1)]


def test_a_training_without_a_step_writes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tracker = build()
    tracker.begin(str(tmp_path / "run"), {})
    tracker.close()
    assert not list(tmp_path.iterdir())
