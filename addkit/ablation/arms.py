"""Arms of an ablation: the recipe with some changes, once for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from addkit.ablation.keys import ANSWERING, answer_key, training_key
from addkit.errors import AddkitError
from addkit.model import build_data
from addkit.plugin import load_registry
from addkit.plugin.facts import DataFacts
from addkit.plugin.registry import UnknownComponent
from addkit.plugin.spec import KINDS
from addkit.recipe import Recipe, recipe_from_tables
from addkit.recipe.overrides import changes_of
from addkit.recipe.writing import toml_value
from addkit.training.control import control_recipe

BASE = "base"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of the table."""

    name: str
    changes: Mapping[str, Any]
    """`table.key` -> value, where it differs from the base."""
    recipes: tuple[Recipe, ...] = ()
    """For each seed; empty where the changes make no recipe."""
    error: str | None = None
    """Why they make none."""

    @cached_property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """(training, answer) for each seed."""
        return tuple((training_key(one), answer_key(one)) for one in self.recipes)


def arms_of(
    recipe: Recipe,
    wanted: Sequence[tuple[str, tuple[str, ...]]],
    controls: Sequence[str],
    seeds: int,
) -> list[Arm]:
    """The base, then the wanted arms that differ from it, then its matched controls.

    Args:
        recipe: the base, see `matched_base`.
        wanted: (name, overrides) of each arm; an empty name is made from the overrides.
        controls: heads of `addkit.training.control`.
        seeds: the recipe's own, and those that follow.

    Raises:
        DataError: the base's data is not at hand, so that no arm could train.
    """
    facts = build_data(recipe).facts
    numbers = range(recipe.seed, recipe.seed + seeds)
    base = _arm(recipe, BASE, (), numbers)
    arms = [base]
    for name, overrides in wanted:
        arm = _arm(recipe, name or name_of(overrides), _with_needs(overrides), numbers)
        if arm.error or arm.keys not in [known.keys for known in arms]:
            arms.append(arm)
    return [*arms, *(_control(base, head, facts) for head in controls)]


def matched_base(recipe: Recipe, wanted: Sequence[tuple[str, ...]]) -> tuple[Recipe, list[str]]:
    """The recipe with what some arm needs to be trained, so that arms differ in their change alone.

    A squared error, for one, cannot go with the Bayes skip: then no arm has it.

    Returns:
        the recipe, and the overrides that changed it.
    """
    tables, told = recipe.tables(), []
    for overrides in wanted:
        for key, value in _needs(overrides).items():
            table, name = key.split(".")
            if table in ANSWERING or tables[table].get(name, value) == value:
                continue
            tables[table][name] = value
            told.append(f"{key}={toml_value(value)}")
    return _read(recipe, tables), told


def name_of(overrides: Sequence[str]) -> str:
    """`loss mse, guidance 1.5`."""
    said = [f"{key.removesuffix('.name')} {_said(v)}" for key, v in changes_of(overrides).items()]
    return ", ".join(text.removeprefix("sampling.") for text in said)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else toml_value(value)


def _arm(recipe: Recipe, name: str, overrides: Sequence[str], seeds: Sequence[int]) -> Arm:
    try:
        recipes = tuple(
            _read(recipe, recipe.tables(), [*overrides, f"seed={seed}"]) for seed in seeds
        )
    except AddkitError as error:
        return Arm(name=name, changes={}, error=str(error))
    return Arm(name=name, changes=_changed(recipe, overrides), recipes=recipes)


def _changed(recipe: Recipe, overrides: Sequence[str]) -> dict[str, Any]:
    """What the overrides set that the recipe has not so already."""
    tables = recipe.tables()
    return {key: value for key, value in changes_of(overrides).items() if _at(tables, key) != value}


def _at(tables: Mapping[str, Any], key: str) -> Any:
    found: Any = tables
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _control(base: Arm, head: str, facts: DataFacts) -> Arm:
    recipes = tuple(control_recipe(one, head, facts) for one in base.recipes)
    return Arm(name=f"control, {head}", changes={"control.heads": head}, recipes=recipes)


def _read(recipe: Recipe, tables: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """An arm trains no controls of its own: they are arms too."""
    bare = {**tables, "control": {"heads": []}, "ablation": {}}
    read = recipe_from_tables(bare, recipe.source, overrides=overrides)
    return replace(read, files=recipe.files)


def _with_needs(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """With what the arm needs to answer, such as a read-out that starts from noise."""
    given = changes_of(overrides)
    more = {k: v for k, v in _needs(overrides).items() if k.split(".")[0] in ANSWERING}
    return (*overrides, *(f"{k}={toml_value(v)}" for k, v in more.items() if k not in given))


def _needs(overrides: Sequence[str]) -> dict[str, Any]:
    """What the components that the overrides name need, and the overrides do not set."""
    given = changes_of(overrides)
    found: dict[str, Any] = {}
    for key, value in given.items():
        kind, _, name = key.partition(".")
        if name == "name" and kind in {one.kind for one in KINDS}:
            try:
                found |= load_registry().get(kind, str(value)).spec.needs
            except UnknownComponent:
                continue  # The arm itself will say so.
    return {key: value for key, value in found.items() if key not in given}
