"""Commands that plugins add to the command line. No module of a command is imported here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from addkit.plugin.loading import Broken, Loader, ProvidedCommand, distribution_of, import_file
from addkit.plugin.registry import installed_plugins, report_faults
from addkit.plugin.selection import Selection


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands of every selected plugin, and the plugins that are broken."""

    by_name: Mapping[str, tuple[ProvidedCommand, ...]]
    """Several of one name where plugins clash: only the use of that name is an error."""
    broken: tuple[Broken, ...] = ()
    heavy: tuple[str, ...] = ()
    """Providers that imported torch while being loaded."""

    def names(self) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted(self.by_name))

    def of(self, distribution: str | None) -> list[ProvidedCommand]:
        """The commands of one package or file, or of all, by name."""
        every = [command for name in self.names() for command in self.by_name[name]]
        return [command for command in every if distribution in (None, command.distribution)]


def load_commands() -> Commands:
    """The commands of installed plugins and plugin files that the environment selects.

    Broken plugins are reported as `load_registry` reports them. Raises `PluginError` if a plugin
    file is broken, a selected plugin or plugin file is missing, or with ADDKIT_STRICT_PLUGINS=1 a
    plugin is broken.
    """
    return load_selected_commands(Selection.from_environment())


# By selection, since tests and options of the command line change the environment.
@functools.cache
def load_selected_commands(selection: Selection) -> Commands:
    """The commands of the plugins in a selection."""
    # A loader of its own: the registry would import every catalogue page of addkit too. Modules of
    # plugins are imported once all the same, as Python keeps them.
    loader = Loader()
    for provider, load in map(import_file, selection.files):
        loader.add(provider, load)
    installed = installed_plugins()
    selection.check(distribution_of(entry_point)[0] for entry_point in installed)
    for entry_point in installed:
        if selection.admits(distribution_of(entry_point)[0]):
            loader.add_entry_point(entry_point)
    by_name = {name: tuple(commands) for name, commands in loader.commands().items()}
    report_faults(loader.broken, loader.heavy, selection.strict)
    return Commands(by_name, tuple(loader.broken), tuple(loader.heavy))
