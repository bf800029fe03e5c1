from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from addkit.cli.report import report
from addkit.errors import RunError, UsageError

app = typer.Typer()
app.command()(report)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, digits_run: Path):
    """What `addkit report RUN --json` says, and the run."""
    run = tmp_path_factory.mktemp("report") / "run"
    # Another test may have evaluated it.
    shutil.copytree(digits_run, run, ignore=shutil.ignore_patterns("evaluation.json"))
    said = CliRunner().invoke(app, [str(run), "--json"])
    assert said.exception is None
    return json.loads(said.stdout), run


def test_json_has_the_agreed_keys(told) -> None:
    data, run = told
    assert set(data) == {"file", "sections"}
    assert data["file"] == str(run / "report.html")
    assert Path(data["file"]).read_text("utf-8").startswith("<!doctype html>")
    assert all(set(part) == {"name", "shown", "reason"} for part in data["sections"])
    shown = [part["name"] for part in data["sections"] if part["shown"]]
    assert shown[:4] == ["scores", "differences", "accuracy", "losses"]
    assert all(bool(part["reason"]) != part["shown"] for part in data["sections"])


def test_the_newest_finished_run_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told
) -> None:
    _, run = told
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="no finished run"):
        CliRunner().invoke(app, [], catch_exceptions=False)
    shutil.copytree(run, tmp_path / "runs" / "one")
    said = CliRunner().invoke(app, ["-o", "page.html"])
    assert said.exception is None
    assert said.stdout == "page.html\n"
    assert "not shown: steps: the run was not evaluated yet" in said.stderr
    assert (tmp_path / "page.html").is_file()


def test_errors_come_before_any_work(told) -> None:
    _, run = told
    with pytest.raises(UsageError, match=r'ending "\.pdf"; known: \.html'):
        CliRunner().invoke(app, [str(run), "-o", "x.pdf"], catch_exceptions=False)
    with pytest.raises(UsageError, match="neither a run"):
        CliRunner().invoke(app, [str(run / "controls")], catch_exceptions=False)
