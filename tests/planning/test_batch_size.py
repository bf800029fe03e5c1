"""A batch size by the memory that is free."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import AddkitWarning, RecipeError
from addkit.model import build_data
from addkit.planning import batch_size
from addkit.planning.batch_size import with_batch_size
from addkit.recipe import read_recipe
from addkit.runs import Run
from addkit.training.plan import Plan

Cli = Callable[..., Any]

AUTO = ("training.batch_size=auto", "encoder.widths=[8, 16]", "denoiser.width=16")


@pytest.mark.parametrize(
    ("free", "processes", "size"), [(2**40, 1, 64), (2**40, 2, 128), (3 * 2**18, 1, 8)]
)
def test_the_largest_that_fits(
    recipes: Path, monkeypatch: pytest.MonkeyPatch, free: int, processes: int, size: int
) -> None:
    monkeypatch.setattr(batch_size, "pick_device", lambda: "cpu")
    monkeypatch.setattr(batch_size, "free_memory", lambda: free)
    recipe = read_recipe(recipes / "digits.toml", [*AUTO, "training.base_lr=1e-3"])
    facts = build_data(recipe).facts
    with pytest.warns(AddkitWarning, match=f"batch_size auto is {size}.*base_lr"):
        chosen = with_batch_size(recipe, facts, processes)
    assert chosen.training.batch_size == size
    assert Plan.of(chosen, 1258, processes).peak_lr == pytest.approx(1e-3 * size / 256)


def test_a_network_that_fits_nowhere(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "pick_device", lambda: "cpu")
    monkeypatch.setattr(batch_size, "free_memory", lambda: 1000)
    recipe = read_recipe(recipes / "digits.toml", AUTO)
    with pytest.raises(RecipeError, match=r"\[training\] batch_size"):
        with_batch_size(recipe, build_data(recipe).facts)


def test_a_run_keeps_its_batch_size(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [word for change in AUTO for word in ("--set", change)]
    sets += ["--set", "training.epochs=1", "--set", "control.heads=[]"]
    result = addkit("train", recipes / "digits.toml", "--run-dir", "r", *sets)
    assert result.code == 0, result.err
    assert "batch_size auto is 64" in result.err
    run = Run(Path("r"))
    assert run.recipe().training.batch_size == 64
    assert run.manifest().plan["global_batch"] == 64
    # Another memory does not count: the run has its number.
    monkeypatch.setattr(batch_size, "free_memory", lambda: 1000)
    result = addkit("train", recipes / "digits.toml", "--run-dir", "r", "--resume", *sets)
    assert result.code == 0, result.err


def test_arms_have_equal_batches(addkit: Cli) -> None:
    result = addkit("ablate", "digits", "--loss", "mse", "--set", "training.batch_size=auto")
    assert (result.code, "batch_size" in result.err) == (2, True)
