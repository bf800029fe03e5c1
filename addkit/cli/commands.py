"""The table of commands, each imported when it is called, and help that needs none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command of `addkit`: where it lies, and what `addkit --help` shows of it."""

    path: str
    """Import path of its function, or of the `typer.Typer` of its sub-commands."""
    summary: str
    command_class: str = "addkit.cli.grouped:GroupedCommand"
    panel: str = "Commands"
    """The heading of `addkit --help` that lists it."""


SUMMARIES: Mapping[str, str] = {
    "train": "Train a recipe, and its matched control beside it.",
    "sample": "Classify or caption images with a trained run.",
    "evaluate": "Score a run, and audit what its loop does.",
    "ablate": "Change one choice at a time, over the same seeds.",
    "report": "Write one page with everything that a run or an ablation shows.",
    "claims": "Set each claim of the paper beside what was measured.",
    "plot": "Write one figure of a report as PNG or SVG.",
    "schedule": "Show and compare noise schedules.",
    "theory": "Check by number what theory says of label diffusion.",
    "data": "Prepare data sets.",
    "recipes": "Find, read, check and compare recipes.",
    "runs": "List, show and compare runs.",
    "plugins": "List, show, check and write plugins.",
    "schema": "Print a JSON Schema of recipes for your editor.",
    "env": "Print what addkit runs with, for a bug report.",
}
"""addkit's own commands, in the order of `addkit --help`: `addkit.cli.NAME:NAME` each."""

COMMANDS = {
    name: CommandEntry(f"addkit.cli.{name}:{name}", summary) for name, summary in SUMMARIES.items()
}
# These two still take values in a row.
for _name in ("ablate", "claims"):
    COMMANDS[_name] = replace(COMMANDS[_name], command_class="addkit.cli.several:SeveralCommand")


class LazyGroup(TyperGroup):
    """`addkit` itself: its commands are looked up in a table and imported when they are called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.entries = dict(COMMANDS)
        self.commands = LazyCommands(self.entries)  # type: ignore[assignment]  # never changed

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel, from the table alone."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            panels.setdefault(entry.panel, []).append((name, entry.summary))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


class LazyCommands(Mapping[str, Any]):
    """Name -> typer's command, made on first use."""

    def __init__(self, entries: Mapping[str, CommandEntry]) -> None:
        self._entries = entries
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Import the command's module."""
        if name not in self._made:
            self._made[name] = make_command(name, self._entries[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def imported(path: str) -> Any:
    """The object at an import path such as "addkit.cli.train:train"."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def make_command(name: str, entry: CommandEntry) -> Any:
    """typer's command for a function, or its group for a `typer.Typer`."""
    target = imported(entry.path)
    if not isinstance(target, typer.Typer):
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(name, cls=imported(entry.command_class))(target)
        target = app
    target._add_completion = False
    command = typer.main.get_command(target)
    command.name = name
    return command


def convert_only_given_values() -> None:
    """Have typer convert only values that a command will use.

    It converts by pydantic, which takes 0.1 s to load, even values that are absent, and those on a
    line that a shell only completes.
    """

    def process_value(parameter: Any, ctx: Any, value: Any) -> Any:
        if not ctx.resilient_parsing and (value is not None or parameter.required):
            return convert(parameter, ctx, value)
        if value is None and (parameter.multiple or parameter.nargs == -1):
            value = ()
        if parameter.callback is None or ctx.resilient_parsing:
            return value
        return parameter.callback(ctx, parameter, value)

    # A patch, since typer has no setting for the classes of the parameters that it makes.
    convert: Any = TyperOption.process_value
    if convert.__module__ != __name__:
        for parameters in (TyperOption, TyperArgument):
            setattr(parameters, "process_value", process_value)  # noqa: B010 - mypy
