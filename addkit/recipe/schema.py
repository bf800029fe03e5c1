"""A JSON Schema of recipes, for editors, from the components that are installed.

A file may leave anything to what it extends, so no key is required; keys that it has are checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from pydantic.json_schema import models_json_schema

from addkit.plugin.config import Config
from addkit.plugin.registry import Registry, load_registry
from addkit.plugin.spec import KINDS
from addkit.recipe.reading import Top
from addkit.recipe.tables import SHARED_TABLES

JsonSchema: TypeAlias = dict[str, Any]
"""A JSON Schema, or a part of one."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{model}"
VALUES = ("default", "const", "enum", "examples")
"""Keywords whose values are no schemas."""

EXTENDS = {
    "description": "Recipes that this one changes, relative to it; of several the later wins.",
    "type": ["string", "array"],
    "items": {"type": "string"},
}


def recipe_schema(registry: Registry | None = None) -> JsonSchema:
    """The schema, draft 2020-12.

    A component's table lists the keys of all components of its kind, which editors complete and
    explain, since they ignore conditions there. A condition on `name` restricts them for checking.

    Args:
        registry: the components to describe; by default all that are installed.
    """
    registry = registry or load_registry()
    components = {(kind.kind, name) for kind in KINDS for name in registry.names(kind.kind)}
    # Sorted, so that the schema is the same text whatever order plugins load in.
    specs = {key: registry.get(*key).spec for key in sorted(components)}
    models: list[type[Config]] = [
        Top,
        *SHARED_TABLES.values(),
        *(spec.settings for spec in specs.values()),
    ]
    # In one call, so that a model that several components use is defined once.
    named, shared = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template=REF
    )
    refs = {model: entry["$ref"] for (model, _), entry in named.items()}
    parts = _Parts(refs, shared.get("$defs", {}))
    for (kind, name), spec in specs.items():
        parts.define(
            f"{kind}.{name}", {**parts.of(spec.settings), "description": spec.summary}, name
        )
    tables = {kind.kind: parts.component(kind.kind, registry.names(kind.kind)) for kind in KINDS}
    shared_tables = {table: parts.of(config) for table, config in SHARED_TABLES.items()}
    top = parts.of(Top)["properties"]
    return {
        "$schema": DIALECT,
        "title": "addkit recipe",
        "description": "An experiment; see `addkit recipes show NAME --resolved` for a whole one.",
        "type": "object",
        "properties": {**top, "extends": EXTENDS, **tables, **shared_tables},
        "additionalProperties": False,
        "$defs": parts.used({**tables, **shared_tables}),
    }


class _Parts:
    """pydantic's definitions, as recipes need them."""

    def __init__(self, refs: Mapping[Any, str], defs: Mapping[str, Any]) -> None:
        self._refs = refs
        self._defs = {name: _tidy(schema) for name, schema in defs.items()}

    def of(self, config: type[Config]) -> JsonSchema:
        """The definition of a model."""
        found: JsonSchema = self._defs[self._refs[config].removeprefix("#/$defs/")]
        return found

    def define(self, place: str, schema: Mapping[str, Any], name: str) -> None:
        """A component: its settings, and the name that picks it."""
        properties = {"name": {"const": name}, **schema.get("properties", {})}
        self._defs[place] = {**schema, "properties": properties}

    def component(self, kind: str, names: Sequence[str]) -> JsonSchema:
        """The table of a kind, for all of its components."""
        # Every component's own table, of which the kind's table is the union.
        own = {name: self._defs[f"{kind}.{name}"] for name in names}
        keys: dict[str, list[Any]] = {"name": []}
        for schema in own.values():
            for key, value in schema["properties"].items():
                keys.setdefault(key, []).append(value)
        summaries = "\n".join(f"- {name}: {each['description']}" for name, each in own.items())
        named = {"description": summaries, "enum": list(names)}
        # Not allOf: editors would merge its conditions, and forget the keys beside them.
        allowed: JsonSchema = {}
        for name in names:
            picked = {"required": ["name"], "properties": {"name": {"const": name}}}
            ref = {"$ref": REF.format(model=f"{kind}.{name}")}
            allowed = {"if": picked, "then": ref, **({"else": allowed} if allowed else {})}
        return {
            "description": f"The {kind.replace('_', '-')}: {', '.join(names)}.",
            "type": "object",
            "properties": {**{key: _any_of(each) for key, each in keys.items()}, "name": named},
            "additionalProperties": False,
            **allowed,
        }

    def used(self, roots: Any) -> JsonSchema:
        """The definitions that something refers to."""
        found: JsonSchema = {}
        waiting = [roots]
        # A definition may refer to others, and to itself.
        while waiting:
            for name in _refs(waiting.pop()):
                if name not in found:
                    found[name] = self._defs[name]
                    waiting.append(self._defs[name])
        return dict(sorted(found.items()))


def _any_of(schemas: Sequence[Mapping[str, Any]]) -> JsonSchema:
    """The schema of values that fit one of these, each shape once.

    An editor offers a key as often as there are branches.
    """
    shapes: list[Any] = []
    for schema in schemas:
        shape = {
            key: value for key, value in schema.items() if key not in ("description", "default")
        }
        shapes += [] if shape in shapes else [shape]
    texts = dict.fromkeys(each["description"] for each in schemas if "description" in each)
    meaning = {"description": "\n".join(texts)} if texts else {}
    return {**meaning, **(shapes[0] if len(shapes) == 1 else {"anyOf": shapes})}


def _tidy(schema: Any) -> Any:
    """The schema without required keys, titles that repeat the key, and null."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy: JsonSchema = {}
    for key, value in schema.items():
        if key == "properties":
            # A setting may be called title or required: its name is no keyword.
            tidy[key] = {name: _tidy(each) for name, each in value.items()}
        elif key in VALUES:
            # TOML has no null: a default of None means that the key is absent.
            tidy |= {key: value} if value is not None else {}
        elif key not in ("title", "required"):
            tidy[key] = _tidy(value)
    branches = [each for each in tidy.get("anyOf", ()) if each != {"type": "null"}]
    if len(branches) == 1:
        del tidy["anyOf"]
        return {**branches[0], **tidy}
    return {**tidy, "anyOf": branches} if branches else tidy


def _refs(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _refs(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].removeprefix("#/$defs/")] if isinstance(schema.get("$ref"), str) else []
    return own + [name for value in schema.values() for name in _refs(value)]
