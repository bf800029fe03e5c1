from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.plugin.selection import FILES

Cli = Callable[..., Any]

PLUGIN = str(Path(__file__).parents[1] / "columns_plugin.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trained: Callable[..., Path]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FILES, PLUGIN)
        columns = ("data.name=digits-columns", "conditioner.name=reader")
        return trained(tmp_path_factory.mktemp("columns") / "run", *columns)


@pytest.fixture
def sample(
    addkit: Cli, run: Path, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    monkeypatch.setenv(FILES, PLUGIN)
    return lambda *words: addkit("sample", digit_images[0], "--run", run, "--json", *words)


def test_values_are_for_all_images(sample: Cli) -> None:
    low, high = (sample("--input", f"half={half}", "--input", "size=3") for half in ("low", "high"))
    assert (low.code, low.err) == (0, "")
    assert low.json[0]["labels"] != high.json[0]["labels"]
    nothing = sample()
    assert nothing.code == 0
    assert "reads half, size, name as side inputs, and none is given" in nothing.err
    assert "--input NAME=VALUE" in nothing.err


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("half", "--input half: write NAME=VALUE, such as age=7"),
        ("hlaf=low", 'no column "hlaf" (did you mean "half"?)'),
        ("half=lo", '"lo" is no category of column "half" (did you mean "low"?); known: low, high'),
        ("size=x", '"x" in column "size" is not a number'),
    ],
)
def test_what_is_no_column_or_value_is_refused(sample: Cli, word: str, text: str) -> None:
    said = sample("--input", word)
    assert said.code == 2
    assert text in " ".join(said.err.split())


def test_a_trace_reads_them_too(sample: Cli, tmp_path: Path) -> None:
    said = sample("--input", "half=low", "--steps", "2", "--trace", tmp_path / "t.png")
    assert said.code == 0
    assert (tmp_path / "t.png").exists()
    assert "none is given" not in said.err
