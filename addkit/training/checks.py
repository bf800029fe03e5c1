"""What is refused, or told, before a training begins."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from shlex import quote
from typing import Any

from addkit.data.order import check_enough
from addkit.data.shards import ShardStore
from addkit.errors import AddkitWarning, RecipeError
from addkit.model import problem_of
from addkit.plugin.facts import DataFacts
from addkit.plugin.protocols import DataSource
from addkit.recipe import Recipe
from addkit.schedules.suggest import scarce_information
from addkit.training.control import heads_of
from addkit.training.plan import Plan

UNMIXABLE = {"conditioner": "side-inputs", "encoder": "features"}
"""Kind -> ability of components that read something else than pixels."""


def check_training(recipe: Recipe, facts: DataFacts) -> None:
    """All that a recipe and the facts of its data tell beforehand.

    Raises:
        RecipeError: a control of another task, a conditioner that reads what the data has not, a
            mixture of what cannot be mixed, a rollout that the process would not read, or steps
            to choose without a split to choose them on.
    """
    heads_of(recipe)
    _check_columns(recipe, facts)
    _check_mixing(recipe)
    _check_rows(recipe)
    _check_steps(recipe, facts.split_sizes)
    _check_information(recipe, facts)


def check_shards(recipe: Recipe, source: DataSource, plan: Plan) -> None:
    """Raise `DataError` if the data lie in fewer shards than a step has micro-batches."""
    # Features that are computed once lie in no shards, and other stores may take long to open.
    in_shards = isinstance(getattr(source, "store", None), ShardStore)
    if in_shards and "features" not in recipe.choices["encoder"].spec.provides:
        check_enough(source.split("train"), plan.micro_batches, quote(str(recipe.source)))


def _check_columns(recipe: Recipe, facts: DataFacts) -> None:
    """Raise `RecipeError` if the conditioner reads beside the image, and there is nothing."""
    conditioner, data = recipe.choices["conditioner"], recipe.choices["data"]
    if "side-inputs" in conditioner.spec.provides and not facts.columns:
        raise RecipeError(
            f'{recipe.source}: the conditioner "{conditioner.name}" reads columns beside the '
            f'image, and the data "{data.name}" has none; take data with columns, or a '
            'conditioner that reads the image alone, such as "mean-token"'
        )


def _check_mixing(recipe: Recipe) -> None:
    """Raise `RecipeError` if two images would become one where that means nothing."""
    used = [key for key in ("mixup", "cutmix") if getattr(recipe.augmentation, key)]
    for kind, ability in UNMIXABLE.items():
        if used and ability in recipe.choices[kind].spec.provides:
            raise RecipeError(
                f"{recipe.source}: [augmentation] {' and '.join(used)} cannot mix what the "
                f'{kind} "{recipe.choices[kind].name}" reads; set to 0'
            )


def _check_rows(recipe: Recipe) -> None:
    """Refuse a rollout, and warn of noise levels by token, that the process would not read.

    Noise levels come with base recipes, so a recipe that changes its process need not undo them.

    Raises:
        RecipeError: `training.rollout` with a process that hides no earlier answer.
    """
    process, training = recipe.choices["process"], recipe.training
    if "token-times" in process.spec.provides:
        return
    if training.rollout:
        raise RecipeError(
            f"{recipe.source}: [training] rollout is {training.rollout:g}, and the process "
            f'"{process.name}" hides no earlier answer; set it to 0'
        )
    if training.token_times[1:] != (0.0, 0.0):
        warnings.warn(
            f'[training] token_times means nothing to the process "{process.name}", which draws '
            "its own; left out",
            AddkitWarning,
            stacklevel=2,
        )


def _check_steps(recipe: Recipe, splits: Collection[str]) -> None:
    """Raise `RecipeError` if steps are to be chosen and there is no split to choose them on."""
    if recipe.sampling.steps == "auto" and "validation" not in splits:
        raise RecipeError(
            f'{recipe.source}: [sampling] steps = "auto" chooses on a validation split, and '
            "the data has none; set data.validation above 0, or steps to a number"
        )


def _check_information(recipe: Recipe, facts: DataFacts) -> None:
    """Warn where most timesteps tell nothing of the label, or all of it."""
    process: Any = recipe.choices["process"].spec
    if "shared-time" not in process.accepts:
        return
    choice, problem = recipe.choices["schedule"], problem_of(recipe, facts)
    told = scarce_information(choice.spec.create(choice.config, problem), problem)
    if told:
        warnings.warn(f"[schedule] {told}", AddkitWarning, stacklevel=2)
