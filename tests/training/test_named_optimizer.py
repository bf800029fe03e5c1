"""Optimizers and schedules of other names than the defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.errors import RecipeError
from addkit.recipe import read_recipe
from addkit.recipe.model import placed
from addkit.runs import Run
from addkit.training.learning_rate import learning_rate, rate_schedule
from addkit.training.named_optimizer import check_optimizer, floats_per_weight
from addkit.training.plan import Plan
from addkit.training.trainer import Trainer

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]


@pytest.mark.parametrize(
    ("name", "floats"), [("sgd", 1), ("lion", 1), ("lamb", 2), ("adafactor", 1.01), ("nadam", 2)]
)
def test_a_stored_state_continues_to_the_same_bits(recipes: Path, name: str, floats: float) -> None:
    recipe = read_recipe(recipes / "digits.toml", [f"training.optimizer={name}"])
    check_optimizer(recipe)
    assert floats_per_weight(recipe.training) == pytest.approx(floats, rel=0.01)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lionn", ('"lionn"', 'did you mean "lion"?')),
        ("kron", ('"kron"',)),
        ("adahessian", ('"adahessian"', "second derivatives")),
    ],
)
def test_other_optimizers_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(f'extends = "digits"\n[training]\noptimizer = "{name}"\n')
    recipe = read_recipe(Path("x.toml"))
    with pytest.raises(RecipeError, match=r"x\.toml:3: ") as caught, placed(recipe):
        check_optimizer(recipe)
    assert all(word in str(caught.value) for word in words)


def test_a_sharded_training_has_adamw_alone(recipes: Path) -> None:
    changes = ["training.optimizer=lion", "distributed.strategy=fsdp"]
    with pytest.raises(RecipeError, match=r'"lion".*strategy'):
        check_optimizer(read_recipe(recipes / "digits.toml", changes))


@pytest.mark.parametrize(("name", "schedule"), [("lamb", "wsd"), ("adafactor", "step")])
def test_a_resumed_run_ends_in_the_same_bits(
    lab: Any, same: Same, name: str, schedule: str
) -> None:
    changes = (f"training.optimizer={name}", f"training.lr_schedule={schedule}")
    straight = lab.open("straight", *changes)
    whole = lab.fit(straight)
    killed = lab.open("killed", *changes)
    lab.fit(killed, stop_after=25)
    again = Trainer.open(Run(killed.run.path), killed.run.recipe(), "cpu")
    assert again.progress.step == 19
    rest = lab.fit(again)
    assert [r.lr for r in rest.reports] == [r.lr for r in whole.reports[19:]]
    assert same(lab.stored(straight.run.path), lab.stored(killed.run.path))


@pytest.mark.parametrize("name", ["cosine", "constant", "step", "poly", "tanh", "wsd", "rsqrt"])
def test_a_schedule_follows_from_the_step(recipes: Path, name: str) -> None:
    changes = (f"training.lr_schedule={name}", "training.lr=2", "training.min_lr=0.1")
    recipe = read_recipe(recipes / "digits.toml", changes)
    plan = Plan.of(recipe, 1258)
    rate = rate_schedule(recipe, plan)
    rates = [rate(step) for step in range(plan.steps)]
    warm = plan.warmup_steps
    assert rates[:warm] == [learning_rate(step, plan, 0.1) for step in range(warm)]
    assert rates[warm] == pytest.approx(2)
    assert all(later <= rate for rate, later in zip(rates[warm:], rates[warm + 1 :], strict=False))
    end = {"constant": 2.0, "step": 2e-3}.get(name, 0.1)
    assert rates[-1] == pytest.approx(end, abs=0.06)
    # In any order.
    assert [rate(step) for step in (plan.steps - 1, warm, 0)] == [rates[-1], rates[warm], rates[0]]
