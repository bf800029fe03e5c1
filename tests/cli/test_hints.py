"""After its result each command names the next one, to people alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, digits_run: Path) -> str:
    """A run's name below ./runs."""
    shutil.copytree(digits_run, tmp_path / "runs" / "mine")
    return "mine"


def test_sample(addkit: Cli, run: str, digit_images: list[Path]) -> None:
    words = ["sample", digit_images[0], "--run", run]
    said = addkit(*words)
    assert said.code == 0
    assert said.err == "next: addkit sample --run runs/mine --trace trace.png IMAGE\n"
    assert addkit(*words, "--json").err == addkit(*words, "-q").err == ""
    assert addkit(*words, "--trace", "t.png").err == "trace: t.png\n"


def test_evaluate_and_report(addkit: Cli, run: str) -> None:
    words = ["evaluate", "--run", run, "--steps", "1,2", "--no-audit"]
    assert addkit(*words).err.splitlines()[-1] == "next: addkit report runs/mine"
    assert "next" not in addkit(*words, "--json").err
    said = addkit("report", run)
    assert said.out == "runs/mine/report.html\n"
    assert said.err.splitlines()[-1].startswith("next: addkit plot ")
    assert "runs/mine -o " in said.err
    assert "next" not in addkit("report", run, "--json").err
    figure = said.err.splitlines()[-1].split()[3]
    assert addkit("plot", figure, run, "-o", "f.svg").code == 0
