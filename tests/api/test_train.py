"""`addkit.train`: overrides, callbacks, progress, resuming."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import addkit
from addkit import Callback, Run, ScoreReport, StepReport, read_recipe
from addkit.errors import RunError, Stopped

SMALL: dict[str, Any] = {
    "encoder": {"widths": (4,), "blocks": 1},
    "denoiser": {"width": 16, "depth": 1},
    "control.heads": [],
    "training.evaluate_every": 1,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_name_and_arguments_become_a_run(capfd: pytest.CaptureFixture) -> None:
    reports: list[Any] = []
    result = addkit.train("digits", SMALL, epochs=2, seed=3, callbacks=reports.append)
    assert capfd.readouterr() == ("", "")
    assert result.run.path.parent == Path("runs")
    assert result.run.finished
    recipe = result.run.recipe()
    assert (recipe.seed, recipe.training.epochs, recipe.control.heads) == (3, 2, ())
    assert recipe.choices["encoder"].config.model_dump()["widths"] == (4,)
    steps = [each for each in reports if isinstance(each, StepReport)]
    assert [each.step for each in steps] == list(range(1, result.steps + 1))
    (score,) = (each for each in reports if isinstance(each, ScoreReport))
    assert (score.step, score.split, score.metric) == (result.steps // 2, "test", "top1")
    model = result.load()
    Image.new("L", (9, 9)).save("x.png")
    assert isinstance(model.predict(np.zeros((9, 9), np.uint8)), addkit.Prediction)
    assert f"{result.value:.2f}" in result._repr_html_()
    (again,) = addkit.evaluate(result.run)
    assert again.scores["top1"] == pytest.approx(result.value)
    # The same again trains nothing, and gives the stored scores.
    recipe = read_recipe("digits", {**SMALL, "training.epochs": 2, "seed": 3})
    reports.clear()
    resumed = addkit.train(recipe, run_dir=result.run.path, resume=True, callbacks=reports.append)
    assert (resumed.scores, reports) == (result.scores, [])
    for run in (result.run, result.run.path, result.run.path.name):
        assert addkit.train(run, resume=True).scores == result.scores
    assert addkit.load(result.run).predict("x.png") == model.predict("x.png")


class Pulled(Exception):  # noqa: N818
    pass


def test_a_training_that_a_callback_ends_is_continued() -> None:
    ends: list[int] = []

    class View(Callback):
        def end(self, trainer: Any) -> None:
            ends.append(trainer.progress.step)

    def pull(report: StepReport | ScoreReport) -> None:
        if isinstance(report, StepReport) and report.step == 25:
            raise Pulled

    changes = {**SMALL, "training.epochs": 2}
    whole = addkit.train("digits", changes, run_dir="whole")
    with pytest.raises(Pulled):
        addkit.train("digits", changes, run_dir="cut", callbacks=[View(), pull])
    assert len(ends) == 1
    again = addkit.train("cut", resume=True)
    assert again.scores == whole.scores

    def stop(report: StepReport | ScoreReport) -> None:
        if isinstance(report, StepReport) and report.step == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match="step 5; continue with resume=True"):
        addkit.train("digits", changes, run_dir="stopped", callbacks=stop)
    fresh = addkit.train("digits", changes, run_dir="cut", fresh=True, epochs=1)
    assert fresh.scores != whole.scores
    (old,) = Path().glob("cut*old*")
    assert Run(old).scores() == whole.scores
    with pytest.raises(RunError):
        addkit.train("digits", run_dir="cut", resume=True)


def test_overrides_of_a_checked_recipe_and_texts(tmp_path: Path) -> None:
    recipe = read_recipe("digits", SMALL)
    assert recipe == read_recipe("digits", [*_texts()])
    result = addkit.train(recipe, ["training.epochs=1"], lr=1e-3, run_dir=tmp_path / "r")
    assert result.run.recipe().training.lr == 1e-3
    assert read_recipe("digits", {"data.validation": np.float32(0.5)}).choices[
        "data"
    ].config.model_dump()["validation"] == pytest.approx(0.5)
    folder = read_recipe("image-folder", {"data.root": tmp_path})
    assert folder.choices["data"].config.model_dump()["root"] == tmp_path


def _texts() -> list[str]:
    return [
        *("encoder.widths=[4]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("control.heads=[]", "training.evaluate_every=1"),
    ]


def test_plain_lines_where_progress_is_asked_for(capfd: pytest.CaptureFixture) -> None:
    addkit.train("digits", SMALL, epochs=1, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "run: " in err
    assert "ADD" in err


def test_a_bar_in_a_notebook(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, html: str) -> None:
            shown.append(html)

    def display(html: str, *, display_id: bool) -> Handle:
        shown.append(html)
        return Handle()

    module, inner = ModuleType("IPython"), ModuleType("IPython.display")
    module.get_ipython = lambda: SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    inner.display, inner.HTML = display, str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    result = addkit.train("digits", SMALL, epochs=1)
    assert 'value="0"' in shown[0]
    assert f'value="{result.steps}"' in shown[-1]
    assert "run: " in capfd.readouterr().err
