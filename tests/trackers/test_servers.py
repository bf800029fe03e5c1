"""Trackers of other packages, against the real ones without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import PluginError
from addkit.plugin import Problem, load_registry
from addkit.trackers.packages import run_title

# Warnings of their own dependencies are not addkit's.
pytestmark = pytest.mark.filterwarnings("ignore")

RECIPE = {"seed": 1, "data": {"root": "photos", "mean": [0.5]}}


def _build(name: str, **settings: Any) -> Any:
    spec = load_registry().get("tracker", name).spec
    return spec.create(spec.settings.model_validate(settings), Problem())


def _tracked(tracker: Any, run: Path, steps: range) -> None:
    tracker.begin(str(run), RECIPE)
    for step in steps:
        tracker.log(step, {"loss": 1 / step, "parts/data": 0.5})
    tracker.close()


@pytest.mark.parametrize(("name", "extra"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_package_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PluginError, match=rf"addkit\[{extra}\]"):
        _build(name)


def test_a_control_is_named_after_its_run(tmp_path: Path) -> None:
    run = tmp_path / "digits-1"
    assert run_title(run, None) == "digits-1"
    assert run_title(run / "controls" / "mlp", None) == "digits-1, control mlp"
    assert run_title(run / "controls" / "mlp", "mine") == "mine, control mlp"


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for variable in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{variable}", str(tmp_path / "wandb-home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    run.mkdir()
    # A killed training repeats some steps.
    for steps in (range(1, 5), range(3, 7)):
        tracker = _build("wandb", project="p", title="t", tags=["a", "b"])
        _tracked(tracker, run, steps)
        inner = tracker._run
        assert (inner.project, inner.name, inner.tags) == ("p", "t", ("a", "b"))
        assert inner.config["data"]["root"] == "photos"
        assert inner.id == (run / "wandb-id").read_text().strip()
    files = list(run.glob("wandb/offline-run-*/*.wandb"))
    assert {file.stem for file in files} == {f"run-{inner.id}"}
    assert all(file.stat().st_size for file in files)


def test_mlflow_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    # Files, since the migrations of a new database take seconds.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "store").as_uri()
    run = tmp_path / "run"
    run.mkdir()
    for steps in (range(1, 5), range(3, 7)):
        _tracked(_build("mlflow", project="p", tags=["a"], uri=uri), run, steps)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("p")
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert tracked.info.run_id == (run / "mlflow-id").read_text().strip()
    assert (tracked.info.run_name, tracked.info.status) == ("run", "FINISHED")
    assert tracked.data.params == {"seed": "1", "data.root": "photos", "data.mean": "[0.5]"}
    assert "a" in tracked.data.tags
    history = client.get_metric_history(tracked.info.run_id, "loss")
    assert [metric.step for metric in history] == [1, 2, 3, 4, 3, 4, 5, 6]
    assert history[-1].value == 1 / 6
