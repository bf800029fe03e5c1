"""Errors and warnings raised before training starts."""

from __future__ import annotations

import warnings
from typing import Any

from addkit.data.loader import check_enough
from addkit.data.shards import ShardStore
from addkit.errors import AddkitWarning, RecipeError, UsageError
from addkit.model import Inference, problem_of
from addkit.plugin.protocols import DataSource
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.schedules.suggest import scarce_information
from addkit.training.control import heads_of
from addkit.training.named_optimizer import check_optimizer
from addkit.training.plan import Plan


def check_training(recipe: Recipe, facts: DataFacts) -> None:
    """Refuse, or warn of, what the recipe and the facts of its data already show to fail. Raises
    `RecipeError` for a control of another task, an optimizer that no training can be resumed with,
    a conditioner that reads what the data lacks, a mixture of what cannot be mixed, a rollout that
    the process would not read, or a choice on a validation split that the data lacks.
    """
    heads_of(recipe)
    for split, size in facts.split_sizes.items():
        if not size:
            raise RecipeError(
                f"{recipe.source}: [data] the split {split} has no image; set data.validation to 0 "
                "or to a larger share, or add images"
            )
    source, choices = recipe.source, recipe.choices
    conditioner, data = choices["conditioner"], choices["data"]
    if "side-inputs" in conditioner.spec.provides and not facts.columns:
        raise RecipeError(
            f'{source}: the conditioner "{conditioner.name}" reads columns beside the '
            f'image, and the data "{data.name}" has none; take data with columns, or a '
            'conditioner that reads the image alone, such as "mean-token"'
        )
    mixed = recipe.augmentation.mixes
    if mixed and "side-inputs" in conditioner.spec.provides:
        raise RecipeError(
            f"{source}: [augmentation] {' and '.join(mixed)} cannot mix what the "
            f'conditioner "{conditioner.name}" reads; set to 0'
        )
    _check_times(recipe)
    _check_frozen(recipe)
    check_optimizer(recipe)
    if recipe.training.patience and not getattr(choices["data"].config, "validation", True):
        raise RecipeError(
            f"{source}: [training] patience stops by the score on a validation split, and the data "
            "has none; set data.validation above 0, or training.patience to 0"
        )
    if recipe.sampling.evidence:
        if "soft-evidence" not in data.spec.provides:
            raise RecipeError(
                f'{source}: [sampling] evidence: the data "{data.name}" has no soft evidence on '
                "its labels; set it to false"
            )
        try:
            Inference.of(recipe, problem_of(recipe, facts))
        except UsageError as error:
            raise RecipeError(f"{source}: [sampling] evidence: {error}") from None
    if recipe.sampling.steps == "auto" and "validation" not in facts.split_sizes:
        raise RecipeError(
            f'{source}: [sampling] steps = "auto" chooses on a validation split, and '
            "the data has none; set data.validation above 0, or steps to a number"
        )
    process: Any = choices["process"].spec
    # A classifier reads no noisy label.
    noisy = "reads-state" in choices["denoiser"].spec.provides
    if noisy and "shared-time" in process.accepts:
        # Timesteps with hardly any information of the label, or nearly all of it, train nothing.
        choice, problem = choices["schedule"], problem_of(recipe, facts)
        message = scarce_information(choice.spec.create(choice.config, problem), problem)
        if message:
            warnings.warn(f"[schedule] {message}", AddkitWarning, stacklevel=2)


def check_budget(recipe: Recipe, facts: DataFacts, plan: Plan) -> None:
    """Warn of a batch that was lowered for few images, and of best weights that nothing chooses."""
    if recipe.checkpoints.use == "best" and "validation" not in facts.split_sizes:
        warnings.warn(
            '[checkpoints] use = "best" chooses on a validation split, and there is none: the last '
            "weights are used",
            AddkitWarning,
            stacklevel=2,
        )
    asked = recipe.training.batch_size
    if asked != "auto" and plan.global_batch < asked:
        warnings.warn(
            f"[training] batch_size {asked} is lowered to {plan.global_batch}, so that an epoch of "
            f"few training images has {plan.steps_per_epoch} steps",
            AddkitWarning,
            stacklevel=2,
        )


def check_shards(recipe: Recipe, source: DataSource, plan: Plan) -> None:
    """Raise `DataError` if the data lie in fewer shards than a step has micro-batches."""
    # Other stores may take long to open.
    if isinstance(getattr(source, "store", None), ShardStore):
        check_enough(source.split("train"), plan.micro_batches, recipe.source)


def _check_frozen(recipe: Recipe) -> None:
    """Refuse, or warn of, keys of a frozen encoder that can have no effect. Raises `RecipeError`
    for features of an encoder that is trained, and for unfreezing one that is not frozen, or whose
    weights are sharded.
    """
    source, training, features = recipe.source, recipe.training, recipe.features
    frozen = getattr(recipe.choices["encoder"].config, "frozen", False)
    if not frozen and (features.cache is True or features.views):
        key = "cache" if features.cache is True else "views"
        raise RecipeError(
            f"{source}: [features] {key} is for a frozen encoder, whose output stays the same; set "
            f"encoder.frozen to true, or leave out features.{key}"
        )
    if not training.unfreeze_after:
        return
    if not frozen:
        raise RecipeError(
            f"{source}: [training] unfreeze_after is {training.unfreeze_after}, and the encoder is "
            "trained from the start; set encoder.frozen to true, or unfreeze_after to 0"
        )
    if recipe.distributed.strategy == "fsdp":
        raise RecipeError(
            f"{source}: [training] unfreeze_after is {training.unfreeze_after}, and FSDP cannot "
            'train weights that were sharded as frozen ones; set distributed.strategy to "ddp", or '
            "unfreeze_after to 0"
        )


def _check_times(recipe: Recipe) -> None:
    """Refuse a rollout, and warn of noise levels by token, that the process would not read.

    Noise levels come with base recipes, so a recipe that changes its process need not undo them.
    Raises `RecipeError` for `training.rollout` with a process that never corrupts an earlier
    answer.
    """
    process, training = recipe.choices["process"], recipe.training
    if "token-times" in process.spec.provides:
        return
    if training.rollout:
        raise RecipeError(
            f"{recipe.source}: [training] rollout is {training.rollout:g}, and the process "
            f'"{process.name}" never corrupts an earlier answer; set it to 0'
        )
    if training.token_times[1:] != (0.0, 0.0):
        warnings.warn(
            f'[training] token_times has no effect on the process "{process.name}", which draws '
            "its own; ignored",
            AddkitWarning,
            stacklevel=2,
        )
