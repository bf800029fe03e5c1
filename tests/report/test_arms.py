from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from addkit.errors import RunError
from addkit.report.ablation_files import (
    AblationFiles,
    arm_accuracies,
    arm_differences,
    arm_losses,
    arm_steps,
    mean_line,
)
from addkit.report.ablation_sections import show_origin, show_table
from addkit.report.figures.curves import Line
from addkit.report.run_files import NotShownError

from .made import made_ablation


@pytest.fixture
def files(tmp_path: Path) -> AblationFiles:
    return AblationFiles.open(made_ablation(tmp_path / "abl"))


def _changed(files: AblationFiles, **changes: object) -> AblationFiles:
    stored = json.loads((files.path / "result.json").read_text())
    (files.path / "result.json").write_text(json.dumps({**stored, **changes}))
    return AblationFiles.open(files.path)


def test_a_mean_line_keeps_what_all_seeds_have() -> None:
    found = mean_line("a", [Line("", (1, 2, 3), (1, 2, 3)), Line("", (2, 3, 4), (4, 8, 9))])
    assert found == Line("a", (2, 3), (3, 5.5), (2, 3), (4, 8))
    assert mean_line("a", [Line("", (1,), (2,))]) == Line("a", (1,), (2,))


def test_arms_of_the_same_training_share_a_line(files: AblationFiles) -> None:
    found = arm_accuracies(files)
    assert [line.name for line in found.lines] == ["base", "loss.name = mse"]
    assert found.lines[0].y[-1] == 81
    assert (found.lines[0].low[-1], found.lines[0].high[-1]) == (80, 82)


def test_losses_of_arms_have_a_panel_for_each_kind(files: AblationFiles) -> None:
    assert [(panel.kind, len(panel.lines)) for panel in arm_losses(files)] == [
        ("ce", 1),
        ("mse", 1),
    ]


def test_arms_that_differ_in_steps_alone_make_one_line(files: AblationFiles) -> None:
    base, mse = arm_steps(files).lines
    assert (base.name, mse.name) == ("base", "loss.name = mse")
    # At 20, the base recipe's own steps, stand the base and the arm that keeps them.
    assert (base.x, base.y) == ((1, 20), (76, 81))
    assert (mse.x, mse.y, mse.low) == ((1, 20), (61, 71), (60, 70))


def test_differences_leave_out_failed_arms(files: AblationFiles) -> None:
    found = arm_differences(files)
    assert found.rows[0].name == "loss.name = mse"
    assert len(found.rows) == 3
    assert (found.rows[0].mean, found.rows[0].low, found.rows[0].sure) == (-9, -10, True)
    shares = arm_differences(_changed(files, metric="exact_match"))
    assert shares.rows[0].mean == -900


def test_the_table_notes_failures_and_few_seeds(files: AblationFiles) -> None:
    shown = show_table(files)
    assert shown.sentences == ["loss.name = odd failed: loss is <nan>"]
    assert shown.tables[0].rows[1] == (
        ["loss.name = mse", "71.00", "1.00", "-9.00", "-10.00 to -8.00", "worse"]
    )
    assert shown.tables[0].rows[-1][1:] == ["-", "-", "-", "-", "failed"]
    few = show_table(_changed(files, seeds=[0, 1]))
    assert few.sentences[0] == "Fewer than 3 seeds: no claim can rest on this table."


def test_the_command_to_repeat_is_the_one_that_was_typed(files: AblationFiles) -> None:
    typed = "addkit ablate --loss mse --set training.epochs=5"
    caption = show_origin(_changed(files, command=typed)).caption
    assert f"To repeat it: `{typed}`" in caption


def test_curves_without_runs_say_so(files: AblationFiles) -> None:
    shutil.rmtree(files.path / "runs")
    with pytest.raises(NotShownError, match=r"any more; its command trains them again"):
        arm_losses(files)
    assert len(arm_differences(files).rows) == 3


def test_runs_are_found_where_a_store_keeps_them(files: AblationFiles) -> None:
    name = Path(files.result.base.runs[0]).name
    kept = files.path.parent / "trained" / name
    shutil.copytree(files.runs(files.result.base)[0].path, kept)
    shutil.rmtree(files.path / "runs")
    elsewhere = replace(files.result.base, runs=[f"another/folder/{name}"])
    assert [run.path for run in files.runs(elsewhere)] == [kept]


def test_what_no_arm_has(files: AblationFiles) -> None:
    files = _changed(files, arms=[])
    with pytest.raises(NotShownError, match=r"no arms differ .*add `--steps 1,2,5,10,20`"):
        arm_steps(files)
    with pytest.raises(NotShownError, match=r"no arm is finished"):
        arm_differences(files)


@pytest.mark.parametrize(
    ("text", "error"),
    [("{", "cannot be read"), ('{"recipe": "r"}', "cannot be used: folder: Field required")],
)
def test_a_broken_result_is_named(files: AblationFiles, text: str, error: str) -> None:
    (files.path / "result.json").write_text(text)
    with pytest.raises(RunError, match=rf"result.json: {error}"):
        AblationFiles.open(files.path)
