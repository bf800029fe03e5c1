"""Shell completion: recipes, runs, components' names, and keys of recipes.

The shell waits at every tab, so nothing here imports torch, and only the keys of recipes need
pydantic.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

RUNS = Path("runs")
"""Equal to `addkit.runs.RUNS`, whose module would load pydantic."""
FIGURES = (
    *("accuracy", "losses", "loss-by-time", "steps", "step-time", "differences", "chain"),
    *("reliability", "classes", "confusion", "samples"),
)
"""Figures of `addkit plot`."""


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes; a shell adds files by itself where none fits."""
    from addkit.recipe.files import known_recipes

    return _beginning(incomplete, known_recipes())


def complete_run(incomplete: str) -> list[str]:
    """Folders of runs, the newest first."""
    found = sorted(RUNS.glob("*/recipe.toml"), key=os.path.getmtime, reverse=True)
    return _beginning(incomplete, (str(file.parent) for file in found))


def complete_recipe_or_run(incomplete: str) -> list[str]:
    """Names of recipes, then folders of runs."""
    return [*complete_recipe(incomplete), *complete_run(incomplete)]


def complete_component(kind: str) -> Callable[[str], list[str]]:
    """A completion of the names of one kind; in a list with commas, of its last name."""

    def complete(incomplete: str) -> list[str]:
        from addkit.plugin.registry import load_registry

        before, comma, last = incomplete.rpartition(",")
        names = load_registry().names(kind)
        return [f"{before}{comma}{name}" for name in _beginning(last, names)]

    return complete


def complete_any_component(incomplete: str) -> list[str]:
    """Names of every kind, since typer passes no other argument of the line."""
    from addkit.plugin.registry import load_registry

    return _beginning(incomplete, sorted({name for _, name in load_registry().components}))


def complete_kind(incomplete: str) -> list[str]:
    """Kinds of components, and `command`, which a plugin can provide too."""
    from addkit.plugin.spec import KINDS

    return _beginning(incomplete, [*(kind.kind for kind in KINDS), "command"])


def complete_figure(incomplete: str) -> list[str]:
    """Figures of `addkit plot`."""
    return _beginning(incomplete, FIGURES)


def complete_key(incomplete: str) -> list[str]:
    """`table.key=` for `--set`, and behind `table.name=` the components."""
    key, equals, value = incomplete.partition("=")
    if not equals:
        return _beginning(incomplete, (f"{key}=" for key in recipe_keys()))
    table, _, last = key.rpartition(".")
    return [f"{key}={name}" for name in complete_component(table)(value)] if last == "name" else []


def recipe_keys() -> list[str]:
    """Every dotted key that a recipe may have, given the installed components."""
    from addkit.plugin import KINDS, load_registry
    from addkit.recipe.reading import Top
    from addkit.recipe.tables import SHARED_TABLES

    registry = load_registry()
    keys = list(Top.model_fields)
    for kind in (each.kind for each in KINDS):
        settings = [registry.get(kind, name).spec.settings for name in registry.names(kind)]
        fields = [f"{kind}.{field}" for each in settings for field in each.model_fields]
        keys += dict.fromkeys([f"{kind}.name", *fields])
    for table, shared in SHARED_TABLES.items():
        keys += [f"{table}.{field}" for field in shared.model_fields]
    return keys


@contextmanager
def join_bash_words() -> Iterator[None]:
    """Have typer complete `--set loss.name=m` in bash, which cuts words at `=` into three.

    bash replaces only what is behind the `=`, so the key is cut off the answers again.
    """
    if os.environ.get("_ADDKIT_COMPLETE") != "complete_bash":
        yield
        return
    line, index = os.environ["COMP_WORDS"], int(os.environ["COMP_CWORD"])
    words = line.split()
    with suppress(ValueError):  # A quote that is still open.
        words = shlex.split(line)
    # COMP_CWORD may be one behind the last word, where a new one begins.
    before, last = words[:index], words[index] if index < len(words) else ""
    if last == "=":
        before, last = [*before, last], ""
    key = ""
    if len(before) > 2 and before[-1] == "=":
        key = f"{before[-2]}="
        before = before[:-2]
    os.environ["COMP_WORDS"] = shlex.join([*before, key + last])
    os.environ["COMP_CWORD"] = str(len(before))
    answers = StringIO()
    try:
        with redirect_stdout(answers):
            yield
    finally:
        lines = answers.getvalue().splitlines()
        sys.stdout.write("\n".join(line.removeprefix(key) for line in lines))


def _beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
