from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.errors import RecipeError
from addkit.recipe import Recipe, read_recipe
from addkit.recipe.files import known_recipes
from addkit.training.learning_rate import learning_rate
from addkit.training.plan import Plan

Read = Callable[..., Recipe]


@pytest.fixture
def read(recipes: Path) -> Read:
    return lambda *overrides: read_recipe(recipes / "digits.toml", overrides)


def _plan(steps: int, warmup: int, peak: float = 2.0) -> Plan:
    return Plan(
        global_batch=1,
        per_process_batch=1,
        accumulation=1,
        processes=1,
        epochs=steps,
        steps_per_epoch=1,
        steps=steps,
        warmup_steps=warmup,
        evaluate_every=1,
        peak_lr=peak,
    )


def test_the_learning_rate_warms_up_and_follows_a_cosine() -> None:
    plan = _plan(100, 10)
    assert [learning_rate(step, plan, 0.5) for step in range(10)] == pytest.approx(
        [2.0 * (step + 1) / 10 for step in range(10)]
    )
    for step in range(10, 100):
        wanted = 0.5 + 1.5 * math.cos(math.pi * (step - 10) / 180) ** 2
        assert learning_rate(step, plan, 0.5) == pytest.approx(wanted)
    assert learning_rate(10, plan, 0.5) == 2.0
    assert learning_rate(55, plan, 0.5) == pytest.approx(1.25)
    assert learning_rate(100, plan, 0.5) == pytest.approx(0.5)


def test_a_learning_rate_without_warm_up_and_one_that_never_ends_it() -> None:
    assert learning_rate(0, _plan(10, 0), 0.0) == 2.0
    assert learning_rate(9, _plan(10, 10), 0.0) == 2.0
    assert learning_rate(9, _plan(10, 20), 0.0) == pytest.approx(1.0)


def test_numbers_follow_from_the_recipe(read: Read) -> None:
    plan = Plan.of(read("training.epochs=5", "training.warmup_epochs=0.5"), 1258)
    assert (plan.steps_per_epoch, plan.steps, plan.warmup_steps) == (19, 95, 10)
    assert (plan.global_batch, plan.per_process_batch, plan.accumulation) == (64, 32, 2)
    assert plan.peak_lr == 3e-3


@pytest.mark.parametrize(
    ("processes", "each", "per_process", "accumulation"),
    [(1, 16, 16, 4), (1, 64, 64, 1), (1, 500, 64, 1), (2, 16, 16, 2), (4, None, 16, 1)],
)
def test_accumulation_makes_up_for_small_batches(
    read: Read, processes: int, each: int | None, per_process: int, accumulation: int
) -> None:
    share = [f"distributed.per_process_batch={each or 64}"]
    plan = Plan.of(read(*share), 1258, processes)
    assert (plan.per_process_batch, plan.accumulation) == (per_process, accumulation)
    assert plan.per_process_batch * plan.micro_batches == 64


def test_the_linear_rule(read: Read) -> None:
    assert read("training.base_lr=1e-3").training.peak_lr(512) == pytest.approx(2e-3)
    assert Plan.of(read("training.base_lr=1e-3"), 1258).peak_lr == pytest.approx(2.5e-4)


@pytest.mark.parametrize(
    ("changes", "processes", "size", "text"),
    [
        (["training.batch_size=63"], 2, 1258, "63 is no multiple of 2 processes x 31 images"),
        (["training.batch_size=3"], 8, 1258, "8 processes x 1 images"),
        (["training.batch_size=40"], 1, 1258, "no multiple of 1 process x 32 images"),
        ([], 8, 7, "7 training images are too few for 8 processes"),
    ],
)
def test_batches_that_do_not_fit(
    read: Read, changes: list[str], processes: int, size: int, text: str
) -> None:
    with pytest.raises(RecipeError, match=text):
        Plan.of(read(*changes), size, processes)


@pytest.mark.parametrize(
    ("images", "processes", "batch", "steps"),
    [
        (256, 1, 64, 4),
        (255, 1, 32, 7),
        (20, 1, 4, 5),
        (20, 2, 4, 5),
        (20, 3, 3, 6),
        (20, 16, 16, 1),
        (1, 1, 1, 1),
    ],
)
def test_a_batch_is_lowered_to_few_images(
    read: Read, images: int, processes: int, batch: int, steps: int
) -> None:
    plan = Plan.of(read("training.base_lr=1e-3"), images, processes)
    assert (plan.global_batch, plan.steps_per_epoch) == (batch, steps)
    assert plan.global_batch == plan.per_process_batch * plan.micro_batches
    assert plan.peak_lr == pytest.approx(1e-3 * batch / 256)


@pytest.mark.parametrize(
    ("images", "epochs", "evaluate_every"),
    [(1, 200, 5), (20, 200, 5), (560, 85, 5), (4_000, 32, 3), (200_000, 10, 1)],
)
def test_epochs_follow_from_the_number_of_images(
    read: Read, images: int, epochs: int, evaluate_every: int
) -> None:
    changes = ("training.epochs=auto", "training.evaluate_every=5", "training.warmup_epochs=2")
    plan = Plan.of(read(*changes), images)
    assert (plan.epochs, plan.evaluate_every) == (epochs, evaluate_every)
    assert plan.steps == epochs * plan.steps_per_epoch
    assert 0 <= plan.warmup_steps <= plan.steps / 10


def test_shipped_recipes_keep_their_batches() -> None:
    sizes = {"imagenet": 1_281_167, "coco-captions": 80_000, "fashion-mnist": 60_000}
    for name, path in known_recipes().items():
        recipe = read_recipe(path)
        plan = Plan.of(recipe, sizes.get(recipe.choices["data"].name, 1_200))
        assert plan.global_batch == recipe.training.batch_size, name
        assert recipe.training.epochs in (plan.epochs, "auto"), name
