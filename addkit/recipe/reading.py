"""From TOML to a checked `Recipe`: every fault is reported at once, with file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from addkit.errors import guess
from addkit.plugin.config import Config
from addkit.plugin.registry import Registry, UnknownComponent, load_registry
from addkit.plugin.spec import KINDS, Choice, Choices
from addkit.recipe.errors import Fault, Origin, raise_if_any, refuse
from addkit.recipe.files import Layer, load_file, merge, named, require, shown
from addkit.recipe.model import Recipe
from addkit.recipe.overrides import read_overrides
from addkit.recipe.tables import SHARED_TABLES
from addkit.recipe.toml import KeyPath, quoted, shortened
from addkit.recipe.validation import Complaint, dotted, explained, unknown_key, validated
from addkit.renamed import KEYS as RENAMED_KEYS
from addkit.renamed import KINDS as RENAMED_KINDS
from addkit.renamed import renamed_to


class Top(Config):
    """The keys above the first table."""

    name: str | None = Field(None, description="Of the runs; the file's if not given.")
    summary: str = Field("", description="One line for `addkit recipes list`.")
    seed: int = Field(0, ge=0, description="Of all that is random.")
    requires: tuple[str, ...] = Field((), description='Packages, such as "addkit-clip>=0.3".')


_TABLES = (*(kind.kind for kind in KINDS), *SHARED_TABLES)
_DEFAULTS = {kind.kind: {"name": kind.default} for kind in KINDS if kind.default is not None}
"""Tables that a recipe may leave out."""
_TOP_KEYS = (*Top.model_fields, "extends")
_TOO_DEEP = "tables or lists are nested too deeply."

C = TypeVar("C", bound=Config)


def read_recipe(
    path: Path, overrides: Sequence[str] = (), registry: Registry | None = None
) -> Recipe:
    """The experiment that a file describes, with what it extends and the overrides applied.

    Args:
        path: a TOML file, or the bare name of a recipe in `recipes/` or of one that comes with
            addkit. Its stem is the experiment's name where the file gives none.
        overrides: `table.key=value`, as after `--set`; the value is TOML or a bare word.
        registry: the components to choose from; by default all that are installed.

    Raises:
        RecipeError: a line for each thing that is wrong.
    """
    path = named(path)
    try:
        layer = load_file(path)
        changes, faults = read_overrides(overrides)
        require(changes)
        return _Check(merge(layer, changes), registry or load_registry(), faults).recipe(path)
    except RecursionError:
        raise refuse(Origin(shown(path)), _TOO_DEEP) from None


def recipe_from_tables(
    tables: Mapping[str, Any],
    source: Path,
    registry: Registry | None = None,
    *,
    overrides: Sequence[str] = (),
) -> Recipe:
    """The experiment in tables that are whole already, such as those stored in a run.

    Raises:
        RecipeError: a line for each thing that is wrong, naming `source`.
    """
    origin = Origin(shown(source))
    if "extends" in tables:
        raise refuse(origin, "a resolved recipe extends nothing.")
    layer = Layer(tables, {(): origin}, (Path(source),))
    require(layer)
    try:
        changes, faults = read_overrides(overrides)
        require(changes)
        return _Check(merge(layer, changes), registry or load_registry(), faults).recipe(
            Path(source)
        )
    except RecursionError:
        raise refuse(origin, _TOO_DEEP) from None


@dataclass(frozen=True, slots=True)
class _Check:
    """One pass over the merged tables, collecting what is wrong."""

    layer: Layer
    registry: Registry
    faults: list[Fault]

    def recipe(self, source: Path) -> Recipe:
        """The checked recipe. Raises `RecipeError` with every fault."""
        for key, value in self.layer.tables.items():
            self._check_key(key, value)
        tables = self.layer.tables
        values = {key: tables[key] for key in Top.model_fields if key in tables}
        top: Any = self._config(Top, (), values, _TOP_KEYS)
        shared: dict[str, Any] = {}
        for name, config in SHARED_TABLES.items():
            values = tables.get(name, {})
            if isinstance(values, dict):
                shared[name] = self._config(config, (name,), values, tuple(config.model_fields))
        chosen = {kind.kind: self._choice(kind.kind) for kind in KINDS}
        choices = {kind: choice for kind, choice in chosen.items() if choice is not None}
        # A component's check may read any other choice, so all must be there.
        if len(choices) == len(KINDS):
            self._check_choices(choices)
        raise_if_any(self.faults)
        return Recipe(
            name=top.name or source.stem,
            source=source,
            summary=top.summary,
            seed=top.seed,
            requires=top.requires,
            choices=choices,
            files=self.layer.files,
            **shared,
        )

    def _check_key(self, key: str, value: object) -> None:
        """Every key at the top is known, and is a table where it should be one."""
        if key in _TABLES and not isinstance(value, dict):
            allowed, found = f"a table such as [{key}]", shortened(value)
            text = f"{key} must be {allowed}, found {found}."
            self._say((), Complaint((key,), text, found, allowed))
        elif key not in _TABLES and key not in _TOP_KEYS:
            allowed = ", ".join(_TABLES if isinstance(value, dict) else _TOP_KEYS)
            self._say((), Complaint((key,), _unknown(key, value), key, allowed))

    def _choice(self, kind: str) -> Choice | None:
        table = self._component_table(kind)
        if table is None:
            return None
        try:
            provided = self.registry.get(kind, table["name"])
        except UnknownComponent as error:
            known = ", ".join(error.known)
            what = Complaint(("name",), str(error), table["name"], known)
            self._say((kind,), what, error.cause)
            return None
        values = {key: value for key, value in table.items() if key != "name"}
        spec = provided.spec
        settings = spec.settings  # Imported here, where it is a path.
        config = self._config(settings, (kind,), values, ("name", *settings.model_fields))
        plugin = provided.provider if provided.is_third_partys else ""
        return None if config is None else Choice(spec, config, plugin)

    def _component_table(self, kind: str) -> dict[str, Any] | None:
        """The table if it is one that names a component."""
        table = self.layer.tables.get(kind, _DEFAULTS.get(kind))
        names = ", ".join(self.registry.names(kind)) or "none"
        known = f"Known: {names}."
        if table is None:
            self._say((), Complaint((), f"missing table [{kind}]. {known}", allowed=names))
        elif not isinstance(table, dict):
            return None
        elif "name" not in table:
            self._say((kind,), Complaint((), f'missing key "name". {known}', allowed=names))
        elif not isinstance(table["name"], str):
            found = shortened(table["name"])
            text = f"name must be a string, found {found}. {known}"
            self._say((kind,), Complaint(("name",), text, found, names))
        else:
            return table
        return None

    def _check_choices(self, choices: Choices) -> None:
        """Ask each component whether it goes with the others."""
        for kind, choice in choices.items():
            for reason in choice.spec.check(choice.config, choices):
                text = f"[{kind}] {reason.rstrip('.')}."
                path = (self._culprit(kind, reason), "name")
                self.faults.append(Fault(self.layer.origin(path), text, dotted(path)))

    def _culprit(self, kind: str, reason: str) -> str:
        """Of the tables that do not go together, the one that the recipe itself has written."""
        here = self.layer.origin(()).place
        for table in (kind, *re.findall(r"\[(\w+)\]", reason)):
            origin = self.layer.origin((table, "name"))
            if origin.is_override or (origin.line and origin.place == here):
                return str(table)
        return kind

    def _config(
        self, config: type[C], table: KeyPath, values: Mapping[str, Any], keys: Sequence[str]
    ) -> C | None:
        try:
            return validated(config, values)
        except ValidationError as error:
            for complaint in explained(error, values, keys):
                self._say(table, complaint)
            return None

    def _say(self, table: KeyPath, what: Complaint, cause: BaseException | None = None) -> None:
        path = (*table, *what.path)
        origin = self.layer.origin(path)
        if dotted(path) in RENAMED_KEYS:
            what = replace(what, text=f"unknown key{renamed_to(RENAMED_KEYS[dotted(path)])}.")
        label = f"[{table[0]}] " if table else ""
        overrides = self.layer.overrides(table) if table and not what.path else []
        if overrides and not origin.is_override:
            label += f"with {', '.join(overrides)}: "
        fault = Fault(origin, label + what.text, dotted(path), what.found, what.allowed, cause)
        self.faults.append(fault)


def _unknown(key: str, value: object) -> str:
    """The sentence for a key at the top that means nothing."""
    if not isinstance(value, dict):
        return unknown_key(key, _TOP_KEYS, _TABLES)
    hint = (
        renamed_to(RENAMED_KINDS.get(key))
        or guess(key, _TABLES)
        or f". Tables: {', '.join(_TABLES)}."
    )
    return f"unknown table {quoted(key)}{hint}"
