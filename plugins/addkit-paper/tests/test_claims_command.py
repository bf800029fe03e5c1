from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer
from addkit_paper.claims_command import claims
from typer.testing import CliRunner

from addkit.ablation import AblationResult, BaseRow, compare
from addkit.errors import RunError, UsageError

app = typer.Typer(rich_markup_mode=None)
app.command()(claims)


def _call(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def _row(name: str, changes: dict[str, Any], values: list[float]) -> BaseRow:
    told: dict[str, Any] = {"mean": None, "sd": None, "train_runs": 3}
    return BaseRow(
        name=name, changes=changes, seeds=[0, 1, 2], metric="top1", values=[*values], **told
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a table of three seeds and a folder for the page."""
    monkeypatch.chdir(tmp_path)
    found = tmp_path / "runs" / "ablations" / "ablation-1"
    found.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    base = _row("base", {}, [80.0, 81.0, 82.0])
    arm = compare(base, _row("x", {"sampling.guidance": 1.0}, [70.0, 71.0, 72.5]))
    told = AblationResult(
        folder=str(found),
        recipe="ablation",
        command="addkit ablate",
        metric="top1",
        seeds=base.seeds,
        shared=[],
        notes=[],
        base=base,
        arms=[arm],
        train_runs=3,
        trained_now=3,
        seconds=1.0,
    )
    (found / "result.json").write_text(json.dumps(asdict(told)))
    return found


def test_the_newest_ablation_becomes_a_page(tmp_path: Path) -> None:
    told = _call()
    assert told.exit_code == 0
    row = next(line for line in told.output.splitlines() if line.startswith("Guidance helps"))
    assert row.split()[-2:] == ["holds", "-"]
    assert "intervals and commands: docs/claims.md" in told.output
    assert "**holds**.\nWith the exact denoiser" in (tmp_path / "docs" / "claims.md").read_text()


def test_json(folder: Path) -> None:
    told = json.loads(_call(str(folder), "-o", "page.md", "--json").stdout)
    assert set(told) == {"file", "ablation", "captions", "scales", "claims"}
    assert (told["file"], told["ablation"]) == ("page.md", "runs/ablations/ablation-1")
    verdicts = {one["name"]: one["verdict"] for one in told["claims"]}
    assert verdicts["guidance"] == "holds"
    assert verdicts["argmax"] == "not tested"
    assert Path("page.md").is_file()


def test_several_caption_runs_in_a_row(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(
            'name = "one"\n[task]\nname = "classification"\n'
        )
    with pytest.raises(UsageError, match=r"--captions one: its task is"):
        _call("--captions", "one,two")


def test_errors_leave_no_page(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match=r'ending "\.txt"'):
        _call("-o", "page.txt")
    (folder / "result.json").unlink()
    with pytest.raises(RunError, match=r"no finished ablation.*addkit ablate recipes/ablation\.to"):
        _call()
    with pytest.raises(RunError, match=r"result\.json: cannot be read"):
        _call(str(folder))
    assert not (tmp_path / "docs" / "claims.md").exists()
