from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from addkit.cli.plot import plot
from addkit.errors import UsageError
from addkit.report.contents import FIGURES
from addkit.report.run_files import NotShownError

app = typer.Typer()
app.command()(plot)


def test_help_names_every_figure() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert all(name in said.stdout for name in FIGURES)


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "steps"])
def test_every_figure_becomes_a_file(digits_run: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "f.svg"
    said = CliRunner().invoke(app, [name, str(digits_run), "-o", str(file), "--json"])
    assert said.exception is None
    data = json.loads(said.stdout)
    assert (data["file"], data["figure"]) == (str(file), name)
    assert re.search("`addkit ", data["caption"])
    assert "<svg" in file.read_text("utf-8")


def test_a_picture_of_points(digits_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.png"
    said = CliRunner().invoke(app, ["losses", str(digits_run), "-o", str(file)])
    assert (said.exception, said.stdout) == (None, f"{file}\n")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_errors(digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run, ignore=shutil.ignore_patterns("evaluation.json"))

    def call(*words: object) -> None:
        CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    with pytest.raises(UsageError, match="name the file with -o"):
        call("losses", run)
    with pytest.raises(
        NotShownError, match=r'figure "steps": the run was not evaluated yet; `addk'
    ):
        call("steps", run, "-o", tmp_path / "f.png")
