"""Arms of an ablation: the recipe with some changes, once for each seed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from addkit.recipe.differences import differences, flat
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
    overrides: Mapping[str, Any]
    """`table.key` -> value as it was asked for, where it differs from the base; a control's is
    `control.heads`."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """`table.key` -> value for every key that differs from the reference once both recipes are
    resolved; None for a key that its component lacks."""
    reference: str = BASE
    """The arm that it is compared with."""
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

    def add(arm: Arm) -> Arm:
        # Arms of equal keys would be the same rows under two names: the first one stays.
        for other in arms:
            if other.keys == arm.keys and not arm.error:
                return other
        arms.append(arm)
        return arm

    for name, overrides in requested:
        # The inference settings that its components need, such as a read-out that starts from
        # noise, are its own: they cost no other arm a training. The base is scored with them too,
        # since an arm is compared with one that answers alike.
        needs = [
            f"{key}={toml_value(value)}"
            for key, value in _needs(overrides).items()
            if key.split(".")[0] in INFERENCE_TABLES
        ]
        reference = base
        if needs:
            reference = add(_arm(recipe, f"{BASE}, {name_of(needs)}", needs, seed_range, base))
        add(_arm(recipe, name or name_of(overrides), (*overrides, *needs), seed_range, reference))
    for head in controls:
        recipes = tuple(control_recipe(each, head, facts) for each in base.recipes)
        asked, changes = {"control.heads": head}, _changes(recipes, base)
        arms.append(Arm(name=f"control, {head}", overrides=asked, changes=changes, recipes=recipes))
    return arms


def matched_base(recipe: Recipe, requested: Sequence[tuple[str, ...]]) -> tuple[Recipe, list[str]]:
    """The recipe with the training settings that some arm needs, so that arms differ in one change.

    A squared error, for one, cannot be combined with the Bayes skip: then no arm has it.

    Returns:
        the recipe, and the overrides that changed it.
    """
    tables, shared = recipe.tables(), []
    written = copy.deepcopy(dict(recipe.written))
    for overrides in requested:
        for key, value in _needs(overrides).items():
            table, name = key.split(".")
            # Inference settings stay the arm's own, and a value that the base has already is no
            # change.
            if table in INFERENCE_TABLES or tables[table].get(name, value) == value:
                continue
            tables[table][name] = value
            written.setdefault(table, {})[name] = value
            shared.append(f"{key}={toml_value(value)}")
    return _arm_recipe(recipe, written), shared


def name_of(overrides: Sequence[str]) -> str:
    """The name of an arm by its overrides, such as `loss mse, guidance 1.5`."""
    words = [
        f"{key.removesuffix('.name')} {value if isinstance(value, str) else toml_value(value)}"
        for key, value in changes_of(overrides).items()
    ]
    return ", ".join(word.removeprefix("sampling.") for word in words)


def _arm(
    recipe: Recipe,
    name: str,
    overrides: Sequence[str],
    seeds: Sequence[int],
    reference: Arm | None = None,
) -> Arm:
    """The recipe with the overrides, for each seed; an arm with an error if they are invalid."""
    try:
        # Every seed is checked, since a component may refuse one.
        recipes = tuple(
            _arm_recipe(recipe, recipe.written, [*overrides, f"seed={seed}"]) for seed in seeds
        )
    except AddkitError as error:
        return Arm(name=name, overrides={}, error=str(error))
    if reference is None:
        return Arm(name=name, overrides={}, recipes=recipes)
    base = flat(reference.recipes[0].tables())
    return Arm(
        name=name,
        overrides={k: v for k, v in changes_of(overrides).items() if base.get(k) != v},
        changes=_changes(recipes, reference),
        reference=reference.name,
        recipes=recipes,
    )


def _changes(recipes: Sequence[Recipe], reference: Arm) -> Mapping[str, object]:
    """What differs from the reference in the resolved recipes; seeds differ in no other key."""
    pair = [reference.recipes[0].tables(), recipes[0].tables()]
    return {row.key: row.values[1] for row in differences(pair)}


def _arm_recipe(recipe: Recipe, tables: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe without controls of its own: in an ablation these are arms too."""
    bare = {**tables, "name": recipe.name, "control": {"heads": []}, "ablation": {}}
    bare.pop("extends", None)
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
