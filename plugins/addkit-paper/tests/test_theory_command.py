from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from addkit_paper import theory as results
from addkit_paper.theory.findings import Measurement, Result
from addkit_paper.theory_command import theory
from typer.testing import CliRunner

from addkit.errors import UsageError

app = typer.Typer(rich_markup_mode=None)
app.command()(theory)


def _call(words: str) -> Any:
    return CliRunner().invoke(app, words.split())


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Two results that cost nothing, one of them wrong."""
    true = Result("true", "One is one.", "1 = 1", lambda: [Measurement("one", 1, 1, 0)])
    false = Result("false", "One is two.", "1 = 2", lambda: [Measurement("two", 2, 1, 0.5, ">=")])
    monkeypatch.setattr(results, "RESULTS", (true, false))


def test_a_result_that_holds() -> None:
    told = _call("true")
    assert told.exit_code == 0
    assert "true: holds. One is one." in told.output
    rows = [line.split() for line in told.output.splitlines()]
    assert ["one", "=", "1.0000", "1.0000", "0", "holds"] in rows
    assert "1 of 1 results hold (docs/theory.md)" in told.output


def test_one_that_does_not_hold_fails() -> None:
    told = _call("")
    assert told.exit_code == 1
    assert "false: does not hold. One is two." in told.output
    assert "1 of 2 results hold" in told.output


def test_lists_without_checking() -> None:
    told = _call("--list")
    assert told.exit_code == 0
    assert told.output.splitlines()[:3] == ["true", "  One is one.", "  1 = 1"]
    assert json.loads(_call("--list --json false").stdout) == [
        {"name": "false", "statement": "One is two.", "equation": "1 = 2"}
    ]


def test_json() -> None:
    told = _call("--json")
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert found["run"] is None
    assert [one["holds"] for one in found["results"]] == [True, False]
    assert found["results"][1]["measurements"] == [
        {
            "what": "two",
            "relation": ">=",
            "predicted": 2,
            "measured": 1,
            "tolerance": 0.5,
            "holds": False,
        }
    ]


def test_an_unknown_name_is_a_usage_error() -> None:
    error = _call("tru").exception
    assert isinstance(error, UsageError)
    assert str(error) == 'no result is called "tru" (did you mean "true"?). Known: true, false'


def test_a_run(digits_run: Path) -> None:
    told = _call(f"--run {digits_run} --images 3")
    assert told.exit_code == 0
    assert "along the chains of 3 test images" in told.output
    assert "entropy, bits" in told.output
    assert "KL, nats" in told.output
    assert "results hold" not in told.output
    both = json.loads(_call(f"true --run {digits_run} --images 3 --json").stdout)
    assert both["run"]["images"] == 3
    assert len(both["run"]["distances"]) == 4
    assert [one["name"] for one in both["results"]] == ["true"]


def test_a_run_without_a_known_posterior_says_so(digits_run: Path) -> None:
    control = next((digits_run / "controls").iterdir())
    told = _call(f"--run {control} --images 2").output
    assert "no distance to the exact posterior: the run's head reads no noisy label" in told
