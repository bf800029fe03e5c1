"""From TOML to a checked `Recipe`: every fault is reported at once, with file and line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from addkit.errors import AddkitWarning, guess, require_type
from addkit.plugin.config import Config, Names, Seed
from addkit.plugin.registry import Registry, UnknownComponent, load_registry
from addkit.plugin.spec import KINDS, Choice
from addkit.recipe.errors import Fault, Origin, raise_if_any, refuse
from addkit.recipe.files import Layer, load_file, merge, named, require, shown
from addkit.recipe.model import Recipe
from addkit.recipe.overrides import Overrides, read_overrides
from addkit.recipe.tables import SHARED_TABLES
from addkit.recipe.toml import KeyPath, quoted, shortened
from addkit.recipe.validation import Complaint, dotted, explained, unknown_key, validated
from addkit.renamed import KEYS as RENAMED_KEYS
from addkit.renamed import KINDS as RENAMED_KINDS
from addkit.renamed import renamed_to

RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789"),
}
"""Names of devices on Windows, which no file can have there."""
LONGEST = 150
"""Bytes of a name: with the time of a run, a file system's limit is 255."""


def name_of_runs(name: str) -> str:
    """The name; raises `ValueError` for one that cannot begin a folder's, or leads to another."""
    odd = [sign for sign in name if sign in '/\\:*?"<>|' or not sign.isprintable()]
    if odd:
        raise ValueError(f"a name must not contain {odd[0]!r}")
    if not name or name[0] in ".- " or name[-1] in ". ":
        raise ValueError(
            "a name must not begin with a dot, hyphen or space, nor end with a dot or space"
        )
    if name.split(".")[0].lower() in RESERVED:
        raise ValueError("a name must not be that of a device")
    if len(name.encode()) > LONGEST:
        raise ValueError(f"a name must have at most {LONGEST} bytes")
    return name


class Top(Config):
    """The keys above the first table."""

    name: Annotated[str, AfterValidator(name_of_runs)] | None = Field(
        None, description="Name of its runs (default: the file's)."
    )
    summary: str = Field("", description="One line for `addkit recipes list`.")
    seed: Seed = Field(0, description="Seed of all random numbers.")
    requires: Names = Field((), description='Packages, such as "addkit-clip>=0.3".')


_TABLES = (*(kind.kind for kind in KINDS), *SHARED_TABLES)
_DEFAULTS = {kind.kind: {"name": kind.default} for kind in KINDS if kind.default is not None}
"""Tables that a recipe may leave out."""
_TOP_KEYS = (*Top.model_fields, "extends")
_TOO_DEEP = "tables or lists are nested too deeply."


def read_recipe(
    path: Path | str, overrides: Overrides = (), registry: Registry | None = None
) -> Recipe:
    """The experiment that a file describes, with what it extends and the overrides applied. Raises
    `RecipeError`, with a line for each thing that is wrong.

    Args:
        path: a TOML file, or the bare name of a recipe in `recipes/` or of one that comes with
            addkit. Its stem is the experiment's name where the file gives none.
        overrides: a mapping such as `{"training.lr": 1e-3}`, or texts `table.key=value` as after
            `--set`, whose value is TOML or a bare word.
        registry: the components to choose from; by default all that are installed.
    """
    path = named(path)
    try:
        layer = load_file(path)
        changes, faults = read_overrides(overrides)
        require(changes)
        # The registry comes last: a file that cannot be read needs no plugin.
        recipe = _Check(merge(layer, changes), registry or load_registry(), faults).recipe(path)
    except RecursionError:
        raise refuse(Origin(shown(path)), _TOO_DEEP) from None
    for kind, text in recipe.dropped.items():
        # A file shows its whole table to its reader; an override changes a table out of sight.
        if kind in changes.tables:
            warnings.warn(text, AddkitWarning, stacklevel=2)
    return recipe


def recipe_from_tables(
    tables: Mapping[str, Any],
    source: Path,
    registry: Registry | None = None,
    *,
    overrides: Overrides = (),
) -> Recipe:
    """The experiment in tables that are whole already, such as those stored in a run. Raises
    `RecipeError`, with a line for each thing that is wrong, naming `source`.
    """
    require_type("tables", tables, Mapping)
    for key in tables:
        require_type("a key of tables", key, str)
    require_type("source", source, str, Path)
    origin = Origin(shown(Path(source)))
    if "extends" in tables:
        raise refuse(origin, "a resolved recipe extends nothing.")
    # A run's recipe is written by addkit itself: the file is origin enough, without lines.
    layer = Layer(tables, lambda: {(): origin}, (Path(source),))
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
    """Checks merged tables in one pass, and collects every fault."""

    layer: Layer
    registry: Registry
    faults: list[Fault]
    dropped: dict[str, list[str]] = field(default_factory=dict)
    """Kind -> inherited keys that its component lacks."""

    def recipe(self, source: Path) -> Recipe:
        """The checked recipe. Raises `RecipeError` with every fault."""
        tables = self.layer.tables
        self._check_keys()
        top_values = {key: tables[key] for key in Top.model_fields if key in tables}
        top: Any = None
        shared: dict[str, Any] = {}
        try:
            top = validated(Top, top_values)
        except ValidationError as error:
            self._explain(error, (), top_values, _TOP_KEYS)
        for name, config in SHARED_TABLES.items():
            # A value that is no table is a fault of `_check_keys` already.
            if isinstance(values := tables.get(name, {}), dict):
                try:
                    shared[name] = validated(config, values)
                except ValidationError as error:
                    self._explain(error, (name,), values, tuple(config.model_fields))
        chosen = {kind.kind: self._choice(kind.kind) for kind in KINDS}
        choices = {kind: choice for kind, choice in chosen.items() if choice is not None}
        # A component's check may read any other choice, so all must be there.
        if len(choices) == len(KINDS):
            for kind, choice in choices.items():
                for reason in choice.spec.check(choice.config, choices):
                    text = f"[{kind}] {reason.rstrip('.')}."
                    path = self._culprit(kind, reason)
                    self.faults.append(Fault(self.layer.origin(path), text, dotted(path)))
        if top is not None and top.name is None:
            try:
                name_of_runs(source.stem)
            except ValueError as error:
                text = f"the file's name is that of its runs: {error}; add a line name = NAME."
                self.faults.append(Fault(self.layer.origin(()), text, "name", source.stem))
        raise_if_any(self.faults)
        written = {
            table: {k: v for k, v in values.items() if k not in self.dropped.get(table, ())}
            if isinstance(values, dict)
            else values
            for table, values in tables.items()
        }
        dropped = {}
        for kind, keys in self.dropped.items():
            others = ", ".join(map(quoted, dict.fromkeys(self.layer.inherited[kind].values())))
            lost = f"{', '.join(keys)}, written for {others}: dropped"
            dropped[kind] = f"[{kind}] {quoted(choices[kind].name)} has no {lost}"
        return Recipe(
            name=top.name or source.stem,
            source=source,
            summary=top.summary,
            seed=top.seed,
            requires=top.requires,
            choices=choices,
            files=self.layer.files,
            written=written,
            find_origin=self.layer.origin,
            dropped=dropped,
            **shared,
        )

    def _check_keys(self) -> None:
        """Check that every key at the top exists, and is a table where it should be one."""
        for key, value in self.layer.tables.items():
            is_table = isinstance(value, dict)
            if key in _TABLES and not is_table:
                allowed, found = f"a table such as [{key}]", shortened(value)
                text = f"{key} must be {allowed}, found {found}."
                self._add((), Complaint((key,), text, found, allowed))
            elif key not in _TABLES and key not in _TOP_KEYS:
                if is_table:
                    hint = renamed_to(RENAMED_KINDS.get(key)) or guess(key, _TABLES)
                    hint = hint or f". Tables: {', '.join(_TABLES)}."
                    text = f"unknown table {shortened(key)}{hint}"
                else:
                    # `loss = "ce"` instead of a table: tables are guessed as well.
                    text = unknown_key(key, _TOP_KEYS, _TABLES)
                allowed = ", ".join(_TABLES if is_table else _TOP_KEYS)
                self._add((), Complaint((key,), text, key, allowed))

    def _choice(self, kind: str) -> Choice | None:
        """The component of a kind with its checked settings; None if there is a fault."""
        table = self.layer.tables.get(kind, _DEFAULTS.get(kind))
        if not (isinstance(table, dict) and isinstance(table.get("name"), str)):
            names = ", ".join(self.registry.names(kind)) or "none"
            known = f"Known: {names}."
            if table is None:
                self._add((), Complaint((), f"missing table [{kind}]. {known}", allowed=names))
            elif isinstance(table, dict) and "name" not in table:
                self._add((kind,), Complaint((), f'missing key "name". {known}', allowed=names))
            elif isinstance(table, dict):
                found = shortened(table["name"])
                text = f"name must be a string, found {found}. {known}"
                self._add((kind,), Complaint(("name",), text, found, names))
            return None
        try:
            provided = self.registry.get(kind, table["name"])
        except UnknownComponent as error:
            known = ", ".join(error.known)
            what = Complaint(("name",), str(error), table["name"], known)
            self._add((kind,), what, error.cause)
            return None
        settings = provided.spec.settings  # Imported here, where it is a path.
        inherited = self.layer.inherited.get(kind, {})
        if gone := sorted(inherited.keys() - settings.model_fields.keys()):
            self.dropped[kind] = gone
        values = {key: value for key, value in table.items() if key not in ("name", *gone)}
        try:
            config = validated(settings, values)
        except ValidationError as error:
            self._explain(error, (kind,), values, ("name", *settings.model_fields))
            return None
        # Only a third party's Spec is wrapped, and kept as `own_spec`.
        plugin = "" if provided.own_spec is None else provided.provider
        return Choice(provided.spec, config, plugin)

    def _culprit(self, kind: str, reason: str) -> tuple[str, str]:
        """The one of the keys that do not go together which the recipe itself has written.

        The others come from a base, which its author cannot be expected to change.
        """
        # The origin of the whole is the file that was named, not a base of it.
        here = self.layer.origin(()).place
        pairs = [(table, key or "name") for table, key in re.findall(r"\[(\w+)\] ?(\w*)", reason)]
        for path in ((kind, "name"), *pairs):
            origin = self.layer.origin(path)
            if origin.is_override or (origin.line and origin.place == here):
                return path
        return kind, "name"

    def _explain(
        self, error: ValidationError, table: KeyPath, values: Mapping[str, Any], keys: Sequence[str]
    ) -> None:
        """Add every error of pydantic's in a table."""
        for complaint in explained(error, values, keys):
            self._add(table, complaint)

    def _add(self, table: KeyPath, what: Complaint, cause: BaseException | None = None) -> None:
        """Add a fault, with its origin and the table as its label."""
        path = (*table, *what.path)
        origin = self.layer.origin(path)
        if dotted(path) in RENAMED_KEYS:
            what = replace(what, text=f"unknown key{renamed_to(RENAMED_KEYS[dotted(path)])}.")
        label = f"[{table[0]}] " if table else ""
        # A fault of a whole table may come from an override of a single key in it, while its origin
        # is the table's header in a file that is right by itself.
        overrides = self.layer.overrides(table) if table and not what.path else []
        if overrides and not origin.is_override:
            label += f"with {', '.join(overrides)}: "
        fault = Fault(origin, label + what.text, dotted(path), what.found, what.allowed, cause)
        self.faults.append(fault)
