"""The schema of recipes, checked by the part of JSON Schema that it uses."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addkit.plugin import KINDS, Registry
from addkit.recipe.files import shipped_folder
from addkit.recipe.schema import DIALECT, recipe_schema
from addkit.recipe.tables import SHARED_TABLES

FILES = sorted(shipped_folder().rglob("*.toml"))
SAYS_NOTHING = {"description", "default", "format", "title", "$schema", "$defs"}
TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
TWO_TYPES = {
    *("data.attributes", "data.image_size", "sampling.steps", "features.cache"),
    *("training.batch_size", "training.epochs"),
    *("distributed.workers", "distributed.processes_per_node"),
    *("loss.class_weights", "data.noise"),
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return recipe_schema()


def faults(value: Any, schema: Any, root: dict[str, Any], at: str = "") -> Iterator[str]:
    """Where a value does not fit. Fails on a keyword that it does not know."""
    if isinstance(schema, bool):
        yield from () if schema else (f"{at}: nothing may be here",)
        return
    for keyword, rule in schema.items():
        if keyword not in SAYS_NOTHING:
            yield from broken(keyword, rule, value, schema, root, at)


def broken(
    keyword: str, rule: Any, value: Any, schema: Any, root: dict[str, Any], at: str
) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    sized = isinstance(value, list)
    bad = False
    match keyword:
        case "$ref":
            yield from faults(value, root["$defs"][rule.removeprefix("#/$defs/")], root, at)
        case "if":
            picked = "else" if any(faults(value, rule, root, at)) else "then"
            yield from faults(value, schema.get(picked, True), root, at)
        case "then" | "else":
            pass
        case "required":
            bad = not set(rule) <= set(value)
        case "anyOf":
            bad = all(any(faults(value, one, root, at)) for one in rule)
        case "type":
            rules = [rule] if isinstance(rule, str) else rule
            fits = any(isinstance(value, TYPES[one]) for one in rules)
            bad = not fits or (isinstance(value, bool) and "boolean" not in rules)
        case "properties" | "additionalProperties" if isinstance(value, dict):
            known = schema.get("properties", {})
            rules = (
                known if keyword == "properties" else dict.fromkeys(set(value) - set(known), rule)
            )
            for key in rules.keys() & value.keys():
                yield from faults(value[key], rules[key], root, f"{at}.{key}")
        case "items" if sized:
            rest = len(schema.get("prefixItems", ()))
            for place, one in enumerate(value[rest:]):
                yield from faults(one, rule, root, f"{at}[{place}]")
        case "prefixItems" if sized:
            for place, (one, own) in enumerate(zip(value, rule, strict=False)):
                yield from faults(one, own, root, f"{at}[{place}]")
        case "const":
            bad = value != rule
        case "enum":
            bad = value not in rule
        case "minimum" | "exclusiveMinimum" if number:
            bad = value < rule or (value == rule and keyword != "minimum")
        case "maximum" | "exclusiveMaximum" if number:
            bad = value > rule or (value == rule and keyword != "maximum")
        case "minItems" | "maxItems" if sized:
            bad = len(value) < rule if keyword == "minItems" else len(value) > rule
        case "minLength" | "maxLength" if isinstance(value, str):
            bad = len(value) < rule if keyword == "minLength" else len(value) > rule
        case "pattern" if isinstance(value, str):
            bad = re.search(rule, value) is None
        case "multipleOf" if number:
            bad = value % rule != 0
        case "properties" | "additionalProperties" | "items" | "prefixItems" | "pattern":
            pass
        case _ if re.match("min|max|exclusive|multiple", keyword):
            pass
        case _:
            raise AssertionError(f"unknown keyword {keyword}")
    if bad:
        yield f"{at}: {keyword}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_shipped_layer_fits(file: Path, schema: dict[str, Any]) -> None:
    assert not list(faults(tomllib.loads(file.read_text("utf-8")), schema, schema))


@pytest.mark.parametrize(
    "text",
    [
        "[training]\nepoch = 3",
        "[trainning]\nepochs = 3",
        "sead = 1",
        "[loss]\nname = 'cee'",
        "[loss]\nname = 'ce'\nnormalise = true",
        "[schedule]\nname = 'cosine'\nbeta_min = 0.1",
        "[loss]\nnormalize = true",
        "[encoder]\nwidths = 'all'",
        "[training]\nepochs = 0",
        "[training]\nbetas = [0.9]",
        "[training]\nprecision = 'fp16'",
        "loss = 'ce'",
        "extends = 3",
        "requires = 'x'",
        "[[ablation.arms]]\nnam = 'x'",
    ],
)
def test_mistakes_do_not_fit(text: str, schema: dict[str, Any]) -> None:
    assert list(faults(tomllib.loads(text), schema, schema))


def test_nothing_is_required_and_nothing_else_allowed(schema: dict[str, Any]) -> None:
    assert not list(faults({}, schema, schema))
    assert json.dumps(schema).count('"required"') == json.dumps(schema).count('"if"')
    assert schema["$schema"] == DIALECT
    assert schema["additionalProperties"] is False
    top = {"name", "summary", "seed", "extends", "requires"}
    assert set(schema["properties"]) == {*top, *(kind.kind for kind in KINDS), *SHARED_TABLES}


def test_settings_have_defaults_and_meanings(schema: dict[str, Any]) -> None:
    smoothing = schema["$defs"]["loss.ce"]["properties"]["label_smoothing"]
    assert smoothing["default"] == 0.0
    assert smoothing["description"] == "Share of the target spread over all classes."
    assert schema["$defs"]["loss.ce"]["properties"]["name"] == {"const": "ce"}
    assert schema["$defs"]["loss.ce"]["description"] == "Plain cross-entropy."
    assert schema["properties"]["training"]["properties"]["reuse"]["minimum"] == 1


def test_an_editor_finds_every_key_side_inputs_the_name(schema: dict[str, Any]) -> None:
    """It looks into properties, and not into conditions."""
    schedule = schema["properties"]["schedule"]["properties"]
    assert schedule["name"]["enum"] == ["cosine", "label-accuracy", "linear", "sigmoid"]
    assert {"scale", "offset", "beta_min", "tau"} <= set(schedule)
    assert schedule["scale"]["description"].startswith("b, height of the hot entry")
    assert "- sigmoid: Sigmoid." in schedule["name"]["description"]


def test_every_key_is_explained(schema: dict[str, Any]) -> None:
    for table, of in schema["properties"].items():
        for key, told in of.get("properties", {table: of}).items():
            assert told.get("description"), f"{table}.{key}"


def test_a_key_is_offered_once(schema: dict[str, Any]) -> None:
    """An editor offers it for each branch of an anyOf; these have two meanings indeed."""
    twice = {
        f"{table}.{key}"
        for table, of in schema["properties"].items()
        for key, told in of.get("properties", {}).items()
        if "anyOf" in told
    }
    assert twice == TWO_TYPES
    assert '"null"' not in json.dumps(schema)


def test_a_wrong_key_is_told_by_itself(schema: dict[str, Any]) -> None:
    text = "[schedule]\nname = 'cosine'\nscal = 1.0"
    found = set(faults(tomllib.loads(text), schema, schema))
    assert found == {".schedule.scal: nothing may be here"}


def test_a_plugins_component_is_in_it(registry: Registry) -> None:
    schema = recipe_schema(registry)
    fits = tomllib.loads("[loss]\nname = 'focal'\ngamma = 2.0\n[data.crop]\nsize = 3")
    assert not list(faults(fits, schema, schema))
    assert list(faults({"loss": {"name": "focal", "gama": 2.0}}, schema, schema))
    assert "Crop" in schema["$defs"]
