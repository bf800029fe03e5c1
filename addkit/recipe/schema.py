"""A JSON Schema of recipes, for editors, from the components that are installed.

A file may leave anything to what it extends, so no key is required; what it says is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from addkit.plugin.config import Config
from addkit.plugin.registry import Registry, load_registry
from addkit.plugin.spec import KINDS
from addkit.recipe.reading import Top
from addkit.recipe.tables import SHARED_TABLES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{model}"
VALUES = ("default", "const", "enum", "examples")
"""Keywords whose values are no schemas."""

EXTENDS = {
    "description": "Recipes that this one changes, relative to it; of several the later wins.",
    "type": ["string", "array"],
    "items": {"type": "string"},
}


def recipe_schema(registry: Registry | None = None) -> dict[str, Any]:
    """The schema, draft 2020-12, of which editors take two parts.

    A component's table has the keys of all components of its kind, to be completed and explained,
    since editors do not look into conditions; what its `name` allows is a condition, to be checked.

    Args:
        registry: the components to describe; by default all that are installed.
    """
    registry = registry or load_registry()
    known = {(kind.kind, name) for kind in KINDS for name in registry.names(kind.kind)}
    specs = {key: registry.get(*key).spec for key in sorted(known)}
    models: list[type[Config]] = [
        Top,
        *SHARED_TABLES.values(),
        *(spec.settings for spec in specs.values()),
    ]
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

    def of(self, config: type[Config]) -> dict[str, Any]:
        """The definition of a model."""
        found: dict[str, Any] = self._defs[self._refs[config].removeprefix("#/$defs/")]
        return found

    def define(self, place: str, schema: Mapping[str, Any], name: str) -> None:
        """A component: its settings, and the name that picks it."""
        properties = {"name": {"const": name}, **schema.get("properties", {})}
        self._defs[place] = {**schema, "properties": properties}

    def component(self, kind: str, names: Sequence[str]) -> dict[str, Any]:
        """The table of a kind, whichever of its components it names, if any."""
        own = {name: self._defs[f"{kind}.{name}"] for name in names}
        keys: dict[str, list[Any]] = {"name": []}
        for schema in own.values():
            for key, value in schema["properties"].items():
                keys.setdefault(key, []).append(value)
        told = "\n".join(f"- {name}: {schema['description']}" for name, schema in own.items())
        named = {"description": told, "enum": list(names)}
        # Not allOf: editors would merge its conditions, and forget the keys beside them.
        allowed: dict[str, Any] = {}
        for name in names:
            picked = {"required": ["name"], "properties": {"name": {"const": name}}}
            ref = {"$ref": REF.format(model=f"{kind}.{name}")}
            allowed = {"if": picked, "then": ref, **({"else": allowed} if allowed else {})}
        return {
            "description": f"The {kind.replace('_', '-')}: {', '.join(names)}.",
            "type": "object",
            "properties": {**{key: _any(each) for key, each in keys.items()}, "name": named},
            "additionalProperties": False,
            **allowed,
        }

    def used(self, roots: Any) -> dict[str, Any]:
        """The definitions that something refers to."""
        found: dict[str, Any] = {}
        waiting = [roots]
        while waiting:
            for name in _refs(waiting.pop()):
                if name not in found:
                    found[name] = self._defs[name]
                    waiting.append(self._defs[name])
        return dict(sorted(found.items()))


def _any(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What fits one of them. An editor offers a key as often as there are branches."""
    shapes: list[Any] = []
    for schema in schemas:
        shape = {
            key: value for key, value in schema.items() if key not in ("description", "default")
        }
        shapes += [] if shape in shapes else [shape]
    told = dict.fromkeys(one["description"] for one in schemas if "description" in one)
    meaning = {"description": "\n".join(told)} if told else {}
    return {**meaning, **(shapes[0] if len(shapes) == 1 else {"anyOf": shapes})}


def _tidy(schema: Any) -> Any:
    """Without what a layer may leave out, titles that repeat the key, and TOML's missing null."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            told[key] = {name: _tidy(one) for name, one in value.items()}
        elif key in VALUES:
            told |= {key: value} if value is not None else {}
        elif key not in ("title", "required"):
            told[key] = _tidy(value)
    branches = [one for one in told.get("anyOf", ()) if one != {"type": "null"}]
    if len(branches) == 1:
        del told["anyOf"]
        return {**branches[0], **told}
    return {**told, "anyOf": branches} if branches else told


def _refs(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for one in schema for name in _refs(one)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].removeprefix("#/$defs/")] if isinstance(schema.get("$ref"), str) else []
    return own + [name for value in schema.values() for name in _refs(value)]
