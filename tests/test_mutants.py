"""The table of `nox -s mutants` fits the code, which moves on; the mutants themselves run there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "mutants.py"
ROOMS = {"diffusion", "sampling", "samplers", "embeddings", "losses", "read_outs", "processes"}
ROOMS |= {"training", "evaluation", "ablation", "metrics", "data", "runs"}


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("mutants", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    return module


def test_each_mutant_has_one_place_in_the_code(mutants: ModuleType) -> None:
    """Otherwise this raises an error that names those which have none, to be mended."""
    table = mutants.read_table()
    assert len(table) >= 150
    assert {mutant.file.partition("/")[0] for mutant in table} >= ROOMS


def test_few_mutants_are_beyond_any_test(mutants: ModuleType) -> None:
    table = mutants.read_table()
    assert sum(bool(mutant.equivalent) for mutant in table) <= mutants.MOST_SURVIVORS * len(table)


def test_a_place_that_is_gone_is_named(mutants: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "mutants.toml"
    rows = '{ is = "gone", old = "no such text", new = "x" }, { is = "same", old = "Z", new = "Z" }'
    file.write_text(f'["version.py"]\ntests = ["test_none"]\nmutants = [{rows}]\n', "utf-8")
    with pytest.raises(ValueError, match="gone: 0 places") as error:
        mutants.read_table(file)
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["version.py"] * 3
