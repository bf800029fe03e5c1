"""What a shell may complete: recipes, runs, components' names, and keys of recipes.

A shell waits for it at every tab, so it loads neither torch nor pydantic: the words of addkit's own
components lie in words.json (`python -m addkit.cli.completion` writes them anew), and where there
are plugins the registry is asked once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from addkit.cli.remembered import only_built_ins, recall, remember

WORDS = Path(__file__).with_name("words.json")
RUNS = Path("runs")
"""`addkit.runs.RUNS`, which would load pydantic."""
FIGURES = (
    *("accuracy", "losses", "loss-by-time", "steps", "step-time", "differences", "chain"),
    *("reliability", "classes", "confusion", "samples"),
)
"""Of `addkit plot`."""


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes; a shell adds files by itself where none fits."""
    from addkit.recipe.shipped import known_recipes

    return _beginning(incomplete, known_recipes())


def complete_run(incomplete: str) -> list[str]:
    """Folders of runs, the newest first."""
    found = sorted(RUNS.glob("*/recipe.toml"), key=os.path.getmtime, reverse=True)
    return _beginning(incomplete, (str(file.parent) for file in found))


def complete_recipe_or_run(incomplete: str) -> list[str]:
    """Names of recipes, then folders of runs."""
    return [*complete_recipe(incomplete), *complete_run(incomplete)]


def complete_component(kind: str) -> Callable[[str], list[str]]:
    """A completion of the names of one kind; of several with commas between, of the last."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in _beginning(last, _names(kind))]

    return complete


def complete_any_component(incomplete: str) -> list[str]:
    """Names of every kind: what stands before is not known."""
    known = (name for names in words()["components"].values() for name in names)
    return _beginning(incomplete, sorted(set(known)))


def complete_kind(incomplete: str) -> list[str]:
    """Kinds of components."""
    return _beginning(incomplete, words()["components"])


def complete_figure(incomplete: str) -> list[str]:
    """Figures of `addkit plot`."""
    return _beginning(incomplete, FIGURES)


def complete_key(incomplete: str) -> list[str]:
    """`table.key=` for `--set`, and behind `table.name=` the components."""
    key, equals, value = incomplete.partition("=")
    if not equals:
        return _beginning(incomplete, (f"{one}=" for one in words()["keys"]))
    table, _, last = key.rpartition(".")
    names = _names(table) if last == "name" else ()
    return [f"{key}={name}" for name in _beginning(value, names)]


def words() -> dict[str, Any]:
    """`components`: kind -> names; `keys`: every dotted key that a recipe may hold."""
    if only_built_ins():
        stored: dict[str, Any] = json.loads(WORDS.read_text("utf-8"))
        return stored
    known: dict[str, Any] | None = recall("words")
    if known is None:
        known = registry_words()
        remember("words", known)
    return known


def registry_words() -> dict[str, Any]:
    """The same, of the live registry."""
    from addkit.plugin import KINDS, load_registry
    from addkit.recipe.model import SHARED_TABLES
    from addkit.recipe.reading import Top

    registry = load_registry()
    names = {kind.kind: registry.names(kind.kind) for kind in KINDS}
    keys = list(Top.model_fields)
    for kind, known in names.items():
        configs = [registry.get(kind, name).spec.config for name in known]
        fields = [f"{kind}.{field}" for config in configs for field in config.model_fields]
        keys += dict.fromkeys([f"{kind}.name", *fields])
    for table, shared in SHARED_TABLES.items():
        keys += [f"{table}.{field}" for field in shared.model_fields]
    return {"components": {kind: list(known) for kind, known in names.items()}, "keys": keys}


def _names(kind: str) -> list[str]:
    names: list[str] = words()["components"].get(kind, [])
    return names


def _beginning(incomplete: str, known: Iterable[str]) -> list[str]:
    return [word for word in known if word.startswith(incomplete)]


if __name__ == "__main__":
    WORDS.write_text(json.dumps(registry_words(), indent=1) + "\n", "utf-8")
