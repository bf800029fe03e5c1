from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from addkit.cli.progress import LiveView
from addkit.runs import Run
from addkit.training.trainer import StepReport, Trainer

Cli = Callable[..., Any]

SMALL = [
    word
    for change in (
        *("encoder.widths=[4, 8]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("training.epochs=1", "training.batch_size=256"),
    )
    for word in ("--set", change)
]


def test_json_is_all_that_stdout_gets(addkit: Cli, recipes: Path) -> None:
    said = addkit("train", recipes / "digits.toml", "--run-dir", "r", "--json", *SMALL)
    assert said.code == 0
    told = said.json
    assert {"run", "top1", "control_top1", "seconds"} <= set(told)
    assert told["run"] == "r"
    assert 0 <= told["top1"] <= 100
    assert told["top1"] == told["scores"]["ema"]["top1"]
    assert told["control_top1"] == told["controls"]["linear"]["ema"]["top1"]
    assert told["steps"] == 4
    _, *lines = said.err.splitlines()  # behind the input of the encoder
    assert lines[:3] == ["run: r", "ADD: 4 steps", "control, linear: 4 steps"]
    warned = lines[3:]
    # A few steps leave classes that no answer has.
    assert len(warned) == len(told["never_predicted"])
    assert Run(Path("r")).finished


def test_a_summary_for_people_ends_in_the_next_command(addkit: Cli, recipes: Path) -> None:
    said = addkit("train", recipes / "digits.toml", *SMALL)
    assert said.code == 0
    (run,) = Path("runs").iterdir()
    assert re.fullmatch(r"digits-\d{8}-\d{6}", run.name)
    lines = said.out.splitlines()
    assert lines[0].split("  ")[0] == "test"
    assert [line.split("  ")[0] for line in lines[1:5]] == [
        *("ADD", "ADD"),
        *("control, linear", "control, linear"),
    ]
    assert f"addkit evaluate --run {run}" in said.err
    assert f"addkit sample --run {run} --steps 20 IMAGE" in said.err
    assert f"run: {run}\n" in said.err


def test_resume_takes_the_newest_unfinished_run(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: LiveView, trainer: Trainer, report: StepReport) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LiveView, "step", stop)
        assert addkit("train", recipes / "digits.toml", *SMALL).code == 130
    (run,) = Path("runs").iterdir()
    assert Run(run).manifest().status == "running"
    said = addkit("train", recipes / "digits.toml", *SMALL, "--resume", "--json")
    assert (said.code, said.json["run"]) == (0, str(run))
    assert Run(run).finished
    said = addkit("train", recipes / "digits.toml", *SMALL, "--resume")
    assert said.code == 1
    assert "no unfinished run of recipe digits in runs/" in said.err
    # By name a finished run can be asked again, and trains nothing.
    said = addkit("train", recipes / "digits.toml", *SMALL, "--resume", "--run-dir", run, "--json")
    assert said.code == 0
    assert said.err.splitlines()[0] == f"run: {run}"
    assert "steps" not in said.err


@pytest.fixture
def stopped(digits_run: Path, tmp_path: Path) -> Path:
    """runs/one, which lacks its last status."""
    run = Path(shutil.copytree(digits_run, tmp_path / "runs" / "one"))
    Run(run).note(status="running")
    return run


@pytest.mark.parametrize("word", ["runs/one", "one", "./runs/one/"])
def test_a_run_s_folder_goes_on_with_resume(addkit: Cli, stopped: Path, word: str) -> None:
    said = addkit("train", word, "--resume", "--json")
    assert (said.code, said.json["run"]) == (0, "runs/one")
    assert Run(stopped).finished
    assert [path.name for path in Path("runs").iterdir()] == ["one"]
    same = addkit("train", word, "--resume", "--run-dir", "runs/one", "--json")
    assert same.code == 0


def test_a_run_s_folder_without_resume_names_the_commands(addkit: Cli, stopped: Path) -> None:
    said = addkit("train", "runs/one")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: runs/one: a run's folder")
    assert "addkit train runs/one --resume" in said.err
    assert "addkit train runs/one/recipe.toml" in said.err
    said = addkit("train", "runs/one", "--resume", "--run-dir", "runs/two")
    assert said.code == 2
    assert said.err.startswith("error: runs/one: ")
    assert "--run-dir runs/two" in said.err
    said = addkit("train", "runs/one", "--resume", "--set", "seed=5")
    assert said.code == 1
    assert "the recipe has changed since this run began: seed was 0 and is 5" in said.err
    said = addkit("train", "runs", "--resume")
    assert (said.code, said.err) == (
        2,
        "error: runs: a folder, not a recipe's file (no .toml in it).\n",
    )


def test_fresh_moves_the_old_run_aside(addkit: Cli, recipes: Path) -> None:
    words = ["train", recipes / "digits.toml", "--run-dir", "r", "--json", *SMALL]
    words += ["--set", "control.heads=[]"]
    assert addkit(*words).code == 0
    before = (Path("r") / "manifest.json").read_text()
    said = addkit(*words, "--fresh", "--set", "seed=3")
    assert said.code == 0
    assert "moved the old run to r.old-1" in said.err
    assert (Path("r.old-1") / "manifest.json").read_text() == before
    assert Run(Path("r")).recipe().seed == 3
    assert addkit(*words, "--fresh").code == 0
    assert sorted(path.name for path in Path().iterdir()) == ["r", "r.old-1", "r.old-2"]


def test_fresh_moves_nothing_where_no_training_can_begin(addkit: Cli, recipes: Path) -> None:
    words = ["train", recipes / "digits.toml", "--run-dir", "r", *SMALL]
    assert addkit(*words, "--set", "control.heads=[]").code == 0
    said = addkit(*words, "--fresh", "--set", "training.batch_size=63")
    assert said.code == 2
    assert [path.name for path in Path().iterdir()] == ["r"]
    assert Run(Path("r")).finished


def test_resume_begins_where_a_run_was_killed_as_it_began(
    addkit: Cli, recipes: Path, digits_run: Path
) -> None:
    (Path("r") / "checkpoints").mkdir(parents=True)
    shutil.copy(digits_run / "facts.json", "r")
    (Path("r") / ".recipe.toml.7.tmp").write_text("nam")
    words = ["--run-dir", "r", "--resume", "--set", "control.heads=[]"]
    assert addkit("train", recipes / "digits.toml", *SMALL, *words).code == 0
    assert Run(Path("r")).finished
    assert not list(Path("r").glob(".*"))


def _report(step: int, loss: float) -> StepReport:
    return StepReport(
        step=step, loss=loss, accuracy=50.0, gradient_norm=1.0, lr=1e-3, images=64, seconds=0.1
    )


def _trainer(steps: int, done: int, headline: str = "top1") -> Any:
    return SimpleNamespace(
        name="ADD",
        plan=SimpleNamespace(steps=steps),
        progress=SimpleNamespace(step=done),
        task=SimpleNamespace(headline=headline),
    )


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("addkit.cli.progress.monotonic", lambda: clock[0])
    view, trainer = LiveView(), _trainer(50, 10)
    view.begin(trainer)
    for step in range(11, 51):
        clock[0] += 1
        view.step(trainer, _report(step, 2.0))
        if step == 25:
            view.scored(trainer, "test", 91.25, [])
    view.end(trainer)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith("ADD: 50 steps, ")
    assert "step 10" in first
    assert [line.split("  ")[0] for line in lines] == [
        f"ADD: step {step}/50" for step in (21, 32, 43)
    ]
    assert lines[:2] == [
        "ADD: step 21/50  loss 2.000  rows right 50.0 %  640 images/s  29 s left",
        "ADD: step 32/50  loss 2.000  rows right 50.0 %  top-1 91.25 %  640 images/s  18 s left",
    ]


def test_examples_and_choices_are_lines(capsys: pytest.CaptureFixture) -> None:
    view, trainer = LiveView(), _trainer(50, 0, "exact_match")
    view.begin(trainer)
    view.scored(trainer, "test", 0.5, [("a red cat", "a red cat"), ("two [b]dogs", "a dog")])
    view.steps_chosen(trainer, 5, {1: 0.25, 5: 0.5})
    view.end(trainer)
    assert capsys.readouterr().err.splitlines() == [
        "ADD: 50 steps",
        "  a red cat",
        "    = a red cat",
        "  two [b]dogs",
        "    > a dog",
        "ADD: steps auto is 5, by exact match, % on the validation split (1: 25.00, 5: 50.00)",
    ]


def test_on_a_terminal_there_is_a_bar(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    view, trainer = LiveView(), _trainer(50, 0)
    view.begin(trainer)
    assert view.bar is not None
    view.step(trainer, _report(1, 4.0))
    view.scored(trainer, "test", 12.5, [])
    view.step(trainer, _report(2, 2.0))
    task = view.bar.tasks[0]
    assert task.completed == 2
    assert "loss 3.900" in task.fields["numbers"]
    assert "top-1 12.50 %" in task.fields["numbers"]
    view.end(trainer)
    assert view.bar is None
    view.end(trainer)
    assert "ADD" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("name", ["ADD", "control, masked-weighted"])
def test_progress_is_one_line_of_any_terminal(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, columns: int, name: str
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    view, trainer = LiveView(), _trainer(12_000, 0)
    trainer.name = name
    view.begin(trainer)
    view.scored(trainer, "validation", 91.25, [])
    view.step(trainer, _report(1234, 2.0))
    assert view.bar is not None
    lines = view.bar.console.render_lines(view.bar.get_renderable())
    text = "".join(segment.text for segment in lines[0])
    view.end(trainer)
    assert len(lines) == 1
    assert len(text) == columns
    for part in (name[:3], "loss 2.000", "50.0 %", "640", ":", " left"):
        assert part in text
    assert ("top-1 91.25 %" in text) == (columns == 120)


def test_a_finished_training_writes_its_page_once(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", recipes / "digits.toml", "--run-dir", "r", *SMALL, "--json", "--report"]
    monkeypatch.setattr("addkit.cli.train.REPORTED", 20)
    said = addkit(*words)
    assert (said.code, said.json["report"]) == (0, "r/report.html")
    page = Path("r/report.html")
    for name in ("confusion", "samples", "losses", "classes"):
        assert f'id="{name}"' in page.read_text("utf-8")
    page.write_text("mine")
    assert addkit(*words, "--resume").json["report"] == "r/report.html"
    assert page.read_text() == "mine"


def test_a_page_that_fails_does_not_fail_the_training(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("one plot")

    monkeypatch.setattr("addkit.report.page.write_page", broken)
    words = [
        "train",
        recipes / "digits.toml",
        "--run-dir",
        "r",
        *SMALL,
        "--set",
        "control.heads=[]",
    ]
    said = addkit(*words, "--json", "--report")
    assert (said.code, said.json["report"]) == (0, None)
    assert "ZeroDivisionError: one plot" in said.err
    assert Run(Path("r")).finished


def test_metrics_are_json_lines(digits_run: Path) -> None:
    lines = (digits_run / "metrics.jsonl").read_text("utf-8").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
