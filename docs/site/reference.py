"""Writes the reference: pages that are made of addkit's commands, settings and public names.

They are reStructuredText, since that has directives for options and Python objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from typer._click.core import Context

from addkit.cli.commands import LazyCommands
from addkit.cli.main import app
from addkit.plugin import KINDS, load_registry
from addkit.plugin.describe import Setting, about, settings_of
from addkit.plugin.spec import ABILITIES
from addkit.recipe.reading import Top
from addkit.recipe.tables import SHARED_TABLES

UNDERLINES = "=-~"

PYTHON: Mapping[str, tuple[str, ...]] = {
    "Train, load, evaluate": ("train", "load", "evaluate"),
    "Predictions": (
        *("Predictor", "Prediction", "JointPrediction", "CaptionPrediction", "LabelScore"),
    ),
    "Runs and results": ("Run", "TrainResult", "Evaluation"),
    "Following a training": ("Callback", "StepReport", "ScoreReport"),
    "Recipes": ("Recipe", "read_recipe"),
}
"""Headings of the page on Python, and the names of `addkit` below each."""
PLUGIN = ("Config", "Problem", "Spec", "CommandSpec")
"""Names of `addkit` that plugins use; the `Spec` of each kind follows them."""


def write(folder: Path) -> None:
    """Write the pages, each only if its text has changed, so that Sphinx reads no more again."""
    folder.mkdir(exist_ok=True)
    for name, lines in pages().items():
        text, file = "\n".join(lines) + "\n", folder / f"{name}.rst"
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def pages() -> dict[str, Iterable[str]]:
    """Name of a page -> its lines."""
    return {
        "commands": commands(),
        "recipes": tables(),
        "components": components(),
        "python": python(),
        "plugins": plugins(),
    }


def commands() -> Iterator[str]:
    """Each command with its usage, arguments and options, as `--help` has them."""
    yield from title("Commands", 0)
    yield "Made from the commands themselves; ``addkit COMMAND --help`` prints the same.\n"
    root: Any = typer.main.get_command(app)
    yield from title("Options of every command", 1)
    yield from _options(Context(root, info_name="addkit"), "addkit")
    own = LazyCommands()
    for name in own:
        yield from _command(own[name], Context(root, info_name="addkit"), name, 1)


def _command(command: Any, parent: Any, name: str, level: int) -> Iterator[str]:
    context = Context(command, info_name=name, parent=parent)
    path = context.command_path
    yield f".. _command-{path.replace(' ', '-')}:\n"
    yield from title(path, level)
    # `\b` begins a block whose lines stay as they are: examples.
    for block in (command.help or "").split("\n\n"):
        lines = block.removeprefix("\b\n").splitlines()
        if lines and all(line.lstrip().startswith("addkit ") for line in lines[:1]):
            yield from code("console", lines)
        else:
            yield prose(" ".join(lines)) + "\n"
    inner = getattr(command, "commands", {})
    if not inner:
        yield from code("text", [command.get_usage(context).removeprefix("Usage: ")])
        yield from _options(context, path)
    for word, each in inner.items():
        yield from _command(each, context, word, level + 1)


def _options(context: Any, path: str) -> Iterator[str]:
    yield f".. program:: {path}\n"
    panels: dict[str, list[str]] = {}
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            panel = getattr(parameter, "rich_help_panel", None) or ""
            # A directive splits names at commas and separates the value by a blank.
            names = ", ".join(re.split(r"(?:, | / )", record[0]))
            panels.setdefault(panel, []).append(f".. option:: {names}\n\n   {prose(record[1])}\n")
    for panel, entries in panels.items():
        if panel:
            yield f"**{panel}**\n"
        yield from entries


def tables() -> Iterator[str]:
    """The tables of a recipe that belong to no component."""
    yield from title("Recipes", 0)
    yield (
        "The tables of a recipe that belong to no component, and their keys.\n"
        "Those of components are in :doc:`components`.\n"
        "``addkit recipes show NAME --resolved`` prints a recipe with all of its values.\n"
    )
    yield from title("Above all tables", 1)
    yield from _settings(settings_of(Top))
    for table, config in SHARED_TABLES.items():
        yield from title(f"[{table}]", 1)
        yield prose(about(config)) + "\n"
        yield from _settings(settings_of(config))


def components() -> Iterator[str]:
    """Every built-in component with its settings, by kind."""
    registry = load_registry()
    yield from title("Components", 0)
    yield (
        "Each table of a recipe that names a component, the components that come with addkit, "
        "and their keys.\n"
        "``addkit plugins show KIND NAME`` prints one of them, with a table to paste.\n"
    )
    for kind in KINDS:
        yield from title(f"[{kind.kind}]", 1)
        for name in registry.names(kind.kind):
            spec = registry.get(kind.kind, name).spec
            yield f".. _{kind.kind}-{name}:\n"
            yield from title(name, 2)
            yield "\n\n".join(map(prose, about(spec.settings).split("\n\n"))) + "\n"
            meanings = ABILITIES.get(kind.kind, {})
            for ability in sorted(spec.provides):
                yield f"- Provides ``{ability}``: {prose(meanings.get(ability, ability))}."
            yield ""
            yield from _settings(settings_of(spec.settings))


def _settings(settings: Iterable[Setting]) -> Iterator[str]:
    for setting in settings:
        default = "absent" if setting.default is None else f"``{setting.default}``"
        given = "required" if setting.required else f"default: {default}"
        kind = ", ".join(filter(None, (setting.type, setting.range)))
        yield f"``{setting.name}``\n   {prose(kind)}; {given}.\n"
        if setting.meaning:
            yield f"   {prose(setting.meaning)}\n"


def python() -> Iterator[str]:
    """Names of `addkit` for users, and the errors."""
    yield from title("Python", 0)
    yield "What ``import addkit`` gives; nothing is loaded before its first use.\n"
    for heading, names in PYTHON.items():
        yield from title(heading, 1)
        for name in names:
            yield from documented(name)
    yield from title("Packs and exported files", 1)
    yield ".. automodule:: addkit.packs\n   :members: pack, push, Packed, Pushed\n"
    yield ".. autofunction:: addkit.export.run.export_run\n"
    yield ".. autoclass:: addkit.export.run.Exported\n   :members:\n"
    yield from title("Errors", 1)
    yield ".. automodule:: addkit.errors\n   :members:"
    yield "   :exclude-members: reading, file_being_read, require_type, guess\n"


def plugins() -> Iterator[str]:
    """Names of `addkit` for authors of plugins, the protocols and the values that they exchange."""
    yield from title("Plugin interface", 0)
    yield "What a plugin declares, and the protocol that each kind of component follows.\n"
    yield from title("Declarations", 1)
    yield (
        ".. py:decorator:: addkit.hookimpl\n\n"
        "   Marks the functions that addkit calls: ``addkit_components`` and ``addkit_commands``.\n"
    )
    for name in (*PLUGIN, *(kind.__name__ for kind in KINDS)):
        yield from documented(name)
    yield from title("Protocols", 1)
    yield ".. automodule:: addkit.plugin.protocols\n   :members:\n"
    yield from title("Values", 1)
    yield ".. automodule:: addkit.plugin.values\n   :members:\n"
    yield from title("Checks", 1)
    yield ".. automodule:: addkit.testing\n   :members: check, check_package, trials\n"


def documented(name: str) -> Iterator[str]:
    """The directive of a public name; by its spelling, since importing it may load torch."""
    if name[0].isupper():
        yield f".. autoclass:: addkit.{name}\n   :members:"
        yield "   :exclude-members: model_config\n"  # pydantic's
    else:
        yield f".. autofunction:: addkit.{name}\n"


def title(text: str, level: int) -> Iterator[str]:
    """A heading."""
    yield from ("", text, UNDERLINES[level] * len(text), "")


def code(language: str, lines: Iterable[str]) -> Iterator[str]:
    """A block of code."""
    yield from (f".. code-block:: {language}\n", *(f"   {line}" for line in lines), "")


def prose(text: str) -> str:
    """Text in one line, with code in single backquotes and no other markup."""
    parts = re.split(r"`([^`]*)`", " ".join(text.split()))
    # A backslash joins code to what follows it, such as the s of a plural.
    plain = [re.sub(r"([\\*|_<>])", r"\\\1", part) for part in parts[::2]]
    marked = [f"\\ ``{part}``\\ " for part in parts[1::2]]
    return "".join(part for pair in zip(plain, [*marked, ""], strict=True) for part in pair)
