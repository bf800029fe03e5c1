"""The root command: addkit's own commands, and behind them those of plugins."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from addkit.cli.commands import LazyGroup
from addkit.errors import AddkitError, AddkitWarning, PluginError
from addkit.plugin.selection import FILES, plugins_may_be_installed

if TYPE_CHECKING:
    from addkit.plugin.loading import ProvidedCommand

PANEL = "Commands of plugins"
COMPLETION = ("install_completion", "show_completion")
"""Options that typer adds to an app of its own, and that only addkit itself has here."""


class RootGroup(LazyGroup):
    """Looks a command up among addkit's own first, so that no plugin can shadow one.

    Plugins are imported only for `--help`, for completing a command's name, and for a name that is
    none of addkit's own.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Addkit's own in their order, then those of plugins."""
        return [*self.commands, *self._of_plugins()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, one of a plugin as a `PluginCommand`; None if there is none."""
        return self.commands.get(cmd_name) or self._of_plugins().get(cmd_name)

    def panels(self) -> Mapping[str, Mapping[str, str]]:
        """Addkit's own commands, and those of plugins under a heading of their own."""
        of_plugins = {name: command.help or "" for name, command in self._of_plugins().items()}
        return {**super().panels(), PANEL: of_plugins}

    def _of_plugins(self) -> dict[str, PluginCommand]:
        if not (os.environ.get(FILES) or plugins_may_be_installed()):
            return {}
        from addkit.plugin.commands import load_commands

        commands = load_commands()
        for name in commands.names():
            if name in self.commands:
                for one in commands.by_name[name]:
                    text = f"{one.title} is left out: addkit has a command of this name"
                    warnings.warn(text, AddkitWarning, stacklevel=2)
        own = [name for name in commands.names() if name not in self.commands]
        return {name: PluginCommand(commands.by_name[name]) for name in own}


class PluginCommand(TyperCommand):
    """Stands in for a plugin's command until it is called: its name and one line of help."""

    def __init__(self, provided: tuple[ProvidedCommand, ...]) -> None:
        self.provided = provided
        help_ = _clash(provided) if len(provided) > 1 else provided[0].spec.help
        super().__init__(provided[0].spec.name, help=help_, short_help=help_)

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Import the command and parse its arguments: the context is of that one."""
        return self.load().make_context(info_name, args, parent, **extra)

    def load(self) -> Any:
        """The real command.

        Raises:
            PluginError: two plugins provide it, or it cannot be imported or is no command.
        """
        if len(self.provided) > 1:
            raise PluginError(f'command "{self.name}": {_clash(self.provided)}')
        (provided,) = self.provided
        command = _command(provided)
        command.name = self.name
        for leaf in _leaves(command):
            leaf.callback = _guarded(leaf.callback, provided)
        return command


def _clash(provided: tuple[ProvidedCommand, ...]) -> str:
    who = " and ".join(one.provider for one in provided)
    owners = dict.fromkeys(one.distribution for one in provided)
    remedies = [f"--no-plugin {one}" for one in owners if not one.endswith(".py")]
    return f"provided by {who}; disable one with {' or '.join(remedies) or 'one --plugin-file'}"


def _command(provided: ProvidedCommand) -> Any:
    app = provided.load()
    if not isinstance(app, typer.Typer):
        if not callable(app):
            raise PluginError(
                f"{provided.title}: {provided.spec.command} is neither a function nor a typer.Typer"
            )
        function, app = app, typer.Typer(rich_markup_mode=None)
        app.command()(function)
    try:
        command = typer.main.get_command(app)
    except Exception as error:
        # Annotations that typer cannot read, or an app without a command.
        raise PluginError(f"{provided.title} cannot be loaded: {error}") from error
    command.params = [one for one in command.params if one.name not in COMPLETION]
    return command


def _leaves(command: Any) -> Iterator[Any]:
    for inner in getattr(command, "commands", {}).values():
        yield from _leaves(inner)
    if command.callback is not None:
        yield command


def _guarded(callback: Callable[..., Any], provided: ProvidedCommand) -> Callable[..., Any]:
    """The callback, whose unexpected errors name the plugin."""

    @functools.wraps(callback)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return callback(*args, **options)
        except AddkitError:
            raise
        except Exception as error:
            # Typer's own, such as Exit and BadParameter, are how a command ends in good order.
            if any(base.__module__.startswith("typer") for base in type(error).__mro__):
                raise
            from addkit.plugin.contract import one_line, place_of

            text = f"{provided.title} failed: {one_line(error)}{place_of(error)}"
            raise AddkitError(f"{text}\nADDKIT_DEBUG=1 shows where.") from error

    return call
