"""The table of commands, each imported when it is called, and help without importing any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

SUMMARIES: Mapping[str, str] = {
    "train": "Train a recipe and its matched controls.",
    "sample": "Classify or caption images with a trained run.",
    "evaluate": "Score a run, and test whether its loop helps.",
    "ablate": "Change one choice at a time, over the same seeds.",
    "repair": "Find recorded labels that are probably wrong.",
    "export": "Write a run as one file for other programs, and compare its answers with addkit's.",
    "report": "Write one page with all tables and figures of a run or an ablation.",
    "plot": "Write one figure of a report as PNG or SVG.",
    "pack": "Write a trained model as one file, with a model card.",
    "push": "Upload a pack to the Hugging Face Hub.",
    "serve": "Serve a run over HTTP, with a page to try it.",
    "schedule": "Show and compare noise schedules.",
    "data": "Prepare data sets.",
    "recipes": "Find, read, check and compare recipes.",
    "runs": "List, show and compare runs.",
    "plugins": "List, show, check and write plugins.",
    "schema": "Print a JSON Schema of recipes for your editor.",
    "env": "Print versions, devices and settings for a bug report.",
}
"""addkit's own commands, in the order of `addkit --help`: `addkit.cli.NAME:NAME` each."""


class LazyGroup(TyperGroup):
    """A group that imports a command when it is called, and none for its help."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = LazyCommands()  # type: ignore[assignment]  # typer only reads it

    def panels(self) -> Mapping[str, Mapping[str, str]]:
        """Headings of the help, and the commands and summaries under each."""
        return {"Commands": SUMMARIES}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the panels, with their columns aligned."""
        panels = self.panels()
        # One width for all panels: by default each panel would align its own columns.
        width = max(len(name) for rows in panels.values() for name in rows)
        for panel, rows in panels.items():
            if rows:
                with formatter.section(panel):
                    formatter.write_dl([(name.ljust(width), text) for name, text in rows.items()])


class LazyCommands(Mapping[str, Any]):
    """Name -> typer's command, built on first use."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Import the command's module. Raises `KeyError` if addkit has no such command."""
        if name not in SUMMARIES:
            raise KeyError(name)
        # Imported here: `--help` lists all commands and needs the modules of none. A module and its
        # function, or `typer.Typer`, have the command's name.
        if name not in self._built:
            target = getattr(import_module(f"addkit.cli.{name}"), name)
            self._built[name] = make_command(name, target)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(SUMMARIES)

    def __len__(self) -> int:
        return len(SUMMARIES)


class GroupedCommand(TyperCommand):
    """A command whose help groups options by their `rich_help_panel`.

    In plain text, since rich's panels would double the time of the help.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for arguments, for each group, and for the other options."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None) or "Options"
                is_argument = parameter.param_type_name == "argument"
                groups.setdefault("Arguments" if is_argument else panel, []).append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


def make_command(name: str, target: Any) -> Any:
    """typer's command for a function, or its group for a `typer.Typer`."""
    app = target
    if not isinstance(target, typer.Typer):
        app = typer.Typer(rich_markup_mode=None)
        app.command(name, cls=GroupedCommand)(target)
    command: Any = typer.main.get_command(app)
    command.name = name
    # Each app has the options that install completion; only addkit's own are of use.
    command.params = [each for each in command.params if not each.name.endswith("_completion")]
    return command


def convert_only_given_values() -> None:
    """Have typer convert only values that a command will use.

    Typer converts by pydantic, which takes 0.1 s to load, even absent values and those on a line
    that a shell only completes.
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
