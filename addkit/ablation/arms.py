"""Arms of an ablation: the recipe with some changes, once for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from addkit.ablation.results import INFERENCE_TABLES, inference_key, training_key
from addkit.data.overview import check_data
from addkit.errors import AddkitError, UsageError
from addkit.model import build_data
from addkit.plugin import load_registry
from addkit.plugin.registry import UnknownComponent
from addkit.plugin.spec import KINDS
from addkit.recipe import Recipe, recipe_from_tables
from addkit.recipe.overrides import changes_of
from addkit.recipe.toml import toml_value
from addkit.training.control import control_recipe

BASE = "base"


@dataclass(frozen=True, slots=True)
class Axis:
    """A key of the recipe and its values, such as `schedule.scale` at 1, 2 and 4."""

    key: str
    """`table.key`; `loss.name` chooses the component."""
    values: tuple[str, ...]
    """As they are written after `--set key=`."""


def combinations(axes: Sequence[Axis], *, grid: bool) -> list[tuple[str, ...]]:
    """The overrides of each arm. Raises `UsageError` for two axes of one key.

    Args:
        axes: keys with their values.
        grid: every combination of a value from each axis; otherwise one value at a time, all else
            as in the recipe.
    """
    keys = [axis.key for axis in axes]
    repeated = [key for key in keys if keys.count(key) > 1]
    if repeated:
        raise UsageError(f"{repeated[0]} is an axis twice; give all its values at once")
    overrides = [[f"{axis.key}={value}" for value in axis.values] for axis in axes]
    # The last axis varies fastest, as in nested loops.
    if grid:
        return list(product(*overrides))
    return [(override,) for values in overrides for override in values]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of the table."""

    name: str
    changes: Mapping[str, Any]
    """`table.key` -> value, where it differs from the base."""
    recipes: tuple[Recipe, ...] = ()
    """One for each seed; empty where the changes make no valid recipe."""
    error: str | None = None
    """The reason why they make none."""

    @cached_property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """(training key, inference key) for each seed."""
        return tuple((training_key(recipe), inference_key(recipe)) for recipe in self.recipes)


def arms_of(
    recipe: Recipe,
    requested: Sequence[tuple[str, tuple[str, ...]]],
    controls: Sequence[str],
    seeds: int,
) -> list[Arm]:
    """The base, then the requested arms that differ from it, then its matched controls. Raises
    `DataError` if the base's data cannot be read, so that no arm could train.

    Args:
        recipe: the base, see `matched_base`.
        requested: (name, overrides) of each arm; an empty name is made from the overrides.
        controls: heads of `addkit.training.control`.
        seeds: number of seeds, counted from the recipe's own.
    """
    # Read once and first: without data no arm can train, and an mlp control is sized by K.
    source = build_data(recipe)
    check_data(source)
    facts = source.facts
    seed_range = range(recipe.seed, recipe.seed + seeds)
    base = _arm(recipe, BASE, (), seed_range)
    arms = [base]
    for name, overrides in requested:
        # The inference settings that its components need, such as a read-out that starts from
        # noise, are its own: they cost no other arm a training.
        needs = [
            f"{key}={toml_value(value)}"
            for key, value in _needs(overrides).items()
            if key.split(".")[0] in INFERENCE_TABLES
        ]
        arm = _arm(recipe, name or name_of(overrides), (*overrides, *needs), seed_range)
        # Arms of equal keys would be the same rows under two names: the first one stays.
        if arm.error or arm.keys not in [other.keys for other in arms]:
            arms.append(arm)
    for head in controls:
        recipes = tuple(control_recipe(each, head, facts) for each in base.recipes)
        changes = {"control.heads": head}
        arms.append(Arm(name=f"control, {head}", changes=changes, recipes=recipes))
    return arms


def matched_base(recipe: Recipe, requested: Sequence[tuple[str, ...]]) -> tuple[Recipe, list[str]]:
    """The recipe with the training settings that some arm needs, so that arms differ in one change.

    A squared error, for one, cannot be combined with the Bayes skip: then no arm has it.

    Returns:
        the recipe, and the overrides that changed it.
    """
    tables, shared = recipe.tables(), []
    for overrides in requested:
        for key, value in _needs(overrides).items():
            table, name = key.split(".")
            # Inference settings stay the arm's own, and a value that the base has already is no
            # change.
            if table in INFERENCE_TABLES or tables[table].get(name, value) == value:
                continue
            tables[table][name] = value
            shared.append(f"{key}={toml_value(value)}")
    return _arm_recipe(recipe, tables), shared


def name_of(overrides: Sequence[str]) -> str:
    """The name of an arm by its overrides, such as `loss mse, guidance 1.5`."""
    words = [
        f"{key.removesuffix('.name')} {value if isinstance(value, str) else toml_value(value)}"
        for key, value in changes_of(overrides).items()
    ]
    return ", ".join(word.removeprefix("sampling.") for word in words)


def _arm(recipe: Recipe, name: str, overrides: Sequence[str], seeds: Sequence[int]) -> Arm:
    """The recipe with the overrides, for each seed; an arm with an error if they are invalid."""
    tables = recipe.tables()
    try:
        # Every seed is checked, since a component may refuse one.
        recipes = tuple(
            _arm_recipe(recipe, recipe.tables(), [*overrides, f"seed={seed}"]) for seed in seeds
        )
    except AddkitError as error:
        return Arm(name=name, changes={}, error=str(error))

    def in_base(key: str) -> Any:
        value: Any = tables
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    changes = {k: v for k, v in changes_of(overrides).items() if in_base(k) != v}
    return Arm(name=name, changes=changes, recipes=recipes)


def _arm_recipe(recipe: Recipe, tables: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe without controls of its own: in an ablation these are arms too."""
    bare = {**tables, "control": {"heads": []}, "ablation": {}}
    # The base's files are kept, so that errors name the file that a user wrote.
    checked = recipe_from_tables(bare, recipe.source, overrides=overrides)
    return replace(checked, files=recipe.files)


def _needs(overrides: Sequence[str]) -> dict[str, Any]:
    """Settings that the components named by the overrides need and the overrides do not set."""
    changes = changes_of(overrides)
    needs: dict[str, Any] = {}
    for key, value in changes.items():
        # Only `KIND.name` chooses a component; other keys are its settings.
        kind, _, name = key.partition(".")
        if name == "name" and kind in {each.kind for each in KINDS}:
            try:
                needs |= load_registry().get(kind, str(value)).spec.needs
            except UnknownComponent:
                continue  # Reading the arm's recipe reports it with its line.
    return {key: value for key, value in needs.items() if key not in changes}
