"""The root command: the commands of addkit and of plugins, and the options that choose plugins."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from addkit.cli.commands import SUMMARIES, LazyGroup, make_command
from addkit.errors import AddkitError, AddkitWarning, PluginError, UsageError
from addkit.plugin.selection import FILES, plugins_may_be_installed

if TYPE_CHECKING:
    from addkit.plugin.loading import ProvidedCommand
    from addkit.testing import Verdict


NONE, WITHOUT, FILE = "--no-plugins", "--no-plugin", "--plugin-file"


def choose(none: bool, without: list[str] | None, files: list[Path] | None) -> None:
    """Have this process, and those that it starts, load these plugins."""
    if none or without or files:
        from addkit.plugin.selection import select

        select(none=none, without=without or [], files=files or [])


NoPlugins = Annotated[
    bool,
    typer.Option(
        NONE,
        is_eager=True,
        callback=lambda none: choose(none, None, None),
        help="Load no installed plugin. Goes with every command.",
    ),
]
NoPlugin = Annotated[
    list[str] | None,
    typer.Option(
        WITHOUT,
        metavar="NAME",
        is_eager=True,
        callback=lambda names: choose(False, names, None),
        help="Load all but this one; may be repeated.",
    ),
]
PluginFile = Annotated[
    list[Path] | None,
    typer.Option(
        FILE,
        metavar="FILE",
        is_eager=True,
        callback=lambda files: choose(False, None, files),
        help="Load this Python file as one; may be repeated.",
    ),
]
# Eager: they are read before all others, since a plugin may add the command itself and lines to
# --help.


def plugins_first(words: list[str]) -> list[str]:
    """Move these options to the front, where they are the root's; users may give them anywhere."""
    end = words.index("--") if "--" in words else len(words)
    front: list[str] = []
    rest: list[str] = []
    before = iter(words[:end])
    for word in before:
        name, equals, _ = word.partition("=")
        if word == NONE or (equals and name in (WITHOUT, FILE)):
            front.append(word)
        elif word in (WITHOUT, FILE):
            # Without a value behind it: typer's own error about that follows.
            front += [word, *(value for value in [next(before, None)] if value is not None)]
        else:
            rest.append(word)
    return [*front, *rest, *words[end:]]


PANEL = "Commands of plugins"
LONGEST_HELP = 100
LAWS = (
    "has_a_name_of_its_own",
    "has_one_line_of_help",
    "is_listed_without_torch",
    "can_be_imported",
    "explains_itself",
)
"""Checks of `addkit plugins check` for a command."""


class RootGroup(LazyGroup):
    """Finds a command among addkit's own first, so that no plugin can shadow one.

    Plugins are imported only for `--help`, for completing a command's name, and for a name that is
    none of addkit's own.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Addkit's own in their order, then those of plugins."""
        return [*self.commands, *plugin_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, one of a plugin as a `PluginCommand`; None if there is none. Raises
        `UsageError` if the command moved to a package that is not installed, or is disabled.
        """
        command = self.commands.get(cmd_name) or plugin_commands().get(cmd_name)
        if command is None and not ctx.resilient_parsing:
            from addkit.renamed import COMMANDS, moved_to

            if cmd_name in COMMANDS:
                text = f'no such command: "{cmd_name}" is {moved_to(COMMANDS[cmd_name])}'
                raise UsageError(f"{text}; `addkit plugins list` shows what is disabled or broken.")
        return command

    def panels(self) -> Mapping[str, Mapping[str, str]]:
        """Addkit's own commands, and those of plugins under a heading of their own."""
        of_plugins = {name: command.help or "" for name, command in plugin_commands().items()}
        return {**super().panels(), PANEL: of_plugins}


def plugin_commands() -> dict[str, PluginCommand]:
    """The commands of plugins by name, without those that have a name of addkit's own."""
    # A cheap test: without plugins, pluggy and the catalogue need not be imported.
    if not (os.environ.get(FILES) or plugins_may_be_installed()):
        return {}
    from addkit.plugin.commands import load_commands

    by_name = load_commands().by_name
    for shadowing in (command for name in SUMMARIES for command in by_name.get(name, ())):
        text = f"{shadowing.title} is left out: addkit has a command of this name"
        warnings.warn(text, AddkitWarning, stacklevel=2)
    return {name: PluginCommand(name, by_name[name]) for name in by_name if name not in SUMMARIES}


class PluginCommand(TyperCommand):
    """Placeholder of a plugin's command until it is called: its name and one line of help."""

    def __init__(self, name: str, provided: tuple[ProvidedCommand, ...]) -> None:
        self.provided = provided
        summary = clash(provided) if len(provided) > 1 else provided[0].spec.help
        super().__init__(name, help=summary, short_help=summary)

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Import the command and parse its arguments; the context is that command's.

        Raises:
            PluginError: two plugins provide it, or see `load_command`.
        """
        if len(self.provided) > 1:
            raise PluginError(f'command "{self.name}": {clash(self.provided)}')
        return load_command(self.provided[0]).make_context(info_name, args, parent, **extra)


def clash(provided: tuple[ProvidedCommand, ...]) -> str:
    """Which plugins provide one command, and how to disable one of them."""
    providers = " and ".join(command.provider for command in provided)
    packages = dict.fromkeys(command.distribution for command in provided)
    # A plugin file is no package that --no-plugin could name.
    remedies = [f"--no-plugin {package}" for package in packages if not package.endswith(".py")]
    remedy = f"disable one with {' or '.join(remedies)}" if remedies else "leave out --plugin-file"
    return f"provided by {providers}; {remedy}"


def load_command(provided: ProvidedCommand) -> Any:
    """Import a plugin's command, as typer's. Raises `PluginError` if it cannot be imported, or is
    neither a function for typer nor a `typer.Typer`.
    """
    from addkit.plugin.contract import one_line, place_of

    target = provided.load()
    try:
        command = make_command(provided.spec.name, target)
    except Exception as error:
        # Annotations that typer cannot read, an app without a command, or no function at all.
        text = f"{provided.title} is no command: {one_line(error)}{place_of(error)}"
        raise PluginError(text) from error
    # A group's own callback runs too, before its sub-command.
    for leaf in _leaves(command):
        leaf.callback = _guarded(leaf.callback, provided)
    return command


def check_commands(package: str | None) -> list[Verdict]:
    """A verdict for each command of a package or file, or of all of them. Raises `UsageError` if
    the hook of a plugin's commands is broken.
    """
    from addkit.plugin.commands import load_commands
    from addkit.testing import Verdict

    commands = load_commands()
    broken = [plugin for plugin in commands.broken if package in (None, plugin.distribution)]
    if broken:
        raise UsageError("\n".join(f"broken plugin: {plugin}" for plugin in broken))
    verdicts = []
    for provided in commands.of(package):
        spec, faults = provided.spec, {}
        others = commands.by_name[spec.name]
        if spec.name in SUMMARIES:
            faults["has_a_name_of_its_own"] = f'addkit has a command "{spec.name}"'
        elif len(others) > 1:
            faults["has_a_name_of_its_own"] = clash(others)
        if "\n" in spec.help or len(spec.help) > LONGEST_HELP:
            text = f"help must be one line of {LONGEST_HELP} letters at most"
            faults["has_one_line_of_help"] = text
        if provided.provider in commands.heavy:
            faults["is_listed_without_torch"] = "its plugin imports torch when it is loaded"
        try:
            command = load_command(provided)
        except PluginError as error:
            faults["can_be_imported"] = str(error)
        else:
            if not command.help:
                faults["explains_itself"] = f"{spec.command} has no docstring, the text of --help"
        # A command that cannot be imported has no docstring to check: that law neither holds nor is
        # broken.
        holding = len(LAWS) - len(faults) - ("can_be_imported" in faults)
        verdicts.append(Verdict("command", spec.name, provided.provider, holding, faults, ""))
    return verdicts


def check_new_name(name: str) -> None:
    """Raise `UsageError` if addkit or a plugin has a command of this name."""
    from addkit.plugin.commands import load_commands

    providers = [command.provider for command in load_commands().by_name.get(name, ())]
    if name in SUMMARIES:
        providers.append("addkit")
    if providers:
        text = f'command "{name}" exists already, in {providers[0]}'
        raise UsageError(f"{text}; choose another name.")


def _leaves(command: Any) -> Iterator[Any]:
    for inner in getattr(command, "commands", {}).values():
        yield from _leaves(inner)
    if command.callback is not None:
        yield command


def _guarded(callback: Callable[..., Any], provided: ProvidedCommand) -> Callable[..., Any]:
    """Wrap a callback so that its unexpected errors name the plugin."""

    @functools.wraps(callback)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return callback(*args, **options)
        except AddkitError:
            raise
        except Exception as error:
            # Typer's own errors, such as Exit and BadParameter, end a command in order. They are
            # recognised by module, since their base class has no public name.
            if any(base.__module__.startswith("typer") for base in type(error).__mro__):
                raise
            from addkit.plugin.contract import one_line, place_of

            text = f"{provided.title} failed: {one_line(error)}{place_of(error)}"
            raise AddkitError(f"{text}\nADDKIT_DEBUG=1 shows where.") from error

    return call
