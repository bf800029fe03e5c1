"""The learning-rate range test, of which nothing stays but its plot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import RunError
from addkit.recipe import read_recipe
from addkit.training import find_lr as module
from addkit.training.find_lr import RangePoint, RangeTest, find_lr

Cli = Callable[..., Any]

SMALL = ("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1")


def test_a_sensible_rate_on_digits(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEPS", 80)
    sets = [word for change in SMALL for word in ("--set", change)]
    result = addkit("train", recipes / "digits.toml", "--find-lr", "--json", *sets)
    assert result.code == 0, result.err
    assert 1e-3 <= result.json["suggestion"] <= 5e-2
    assert result.json["base_lr"] == pytest.approx(4 * result.json["suggestion"])
    rates = [point["lr"] for point in result.json["points"]]
    assert rates[0] == pytest.approx(1e-7)
    assert rates == sorted(rates)
    # No run, and a plot under a name that was free.
    assert [path.name for path in Path().iterdir()] == [result.json["plot"]]
    assert Path(result.json["plot"]).read_bytes()[:4] == b"\x89PNG"


def test_it_ends_where_the_loss_diverges(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 30)
    monkeypatch.setattr(module, "HIGHEST", 1e4)
    recipe = read_recipe(recipes / "digits.toml", [*SMALL, "training.optimizer=sgd"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = find_lr(recipe, "cpu")
    assert test.diverged
    assert test.lowest.lr < test.points[-1].lr
    assert test.suggestion == test.lowest.lr / 10


def test_a_loss_that_is_no_number_at_once(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RunError("loss is nan")

    monkeypatch.setattr("addkit.training.trainer.Trainer.train_step", fail)
    with pytest.raises(RunError, match="nan"):
        find_lr(read_recipe(recipes / "digits.toml", SMALL), "cpu")


def test_base_lr_is_for_256_images() -> None:
    points = [RangePoint(1e-3, 2.0), RangePoint(1e-2, 1.0), RangePoint(1e-1, 3.0)]
    test = RangeTest(points=points, diverged=False, global_batch=64)
    assert (test.suggestion, test.base_lr) == (pytest.approx(1e-3), pytest.approx(4e-3))


@pytest.mark.parametrize("other", ["--resume", "--dry-run", "--fresh"])
def test_it_trains_nothing(addkit: Cli, other: str) -> None:
    result = addkit("train", "digits", "--find-lr", other)
    assert (result.code, "--find-lr" in result.err) == (2, True)
