"""Every component that recipes can name, with its provider. Imports no torch.

Built-ins come through the same hook as third parties. A third party's broken plugin is left out and
recorded, so that one bad package never stops the command line.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from addkit.errors import AddkitWarning, PluginError, guess
from addkit.plugin.loading import Broken, Loader, Provided, distribution_of, import_file
from addkit.plugin.selection import GROUP, Selection, plugins_may_be_installed, reports_plugins
from addkit.renamed import COMPONENTS, renamed_to
from addkit.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


BUILT_INS = tuple(
    f"addkit.{page}"
    for page in (
        *("tasks", "tokenizers", "data", "encoders", "conditioners", "processes", "embeddings"),
        *("denoisers", "schedules", "timesteps", "losses", "to_one", "samplers", "read_outs"),
        "trackers",
    )
)
"""The catalogue pages, by name so that importing this module imports none of them."""

ELSEWHERE = "Is it a plugin's? Install that (pip install -e FOLDER), or give --plugin-file FILE."


class UnknownComponent(PluginError):  # noqa: N818 - the name of the condition
    """No plugin provides a component of this kind and name."""

    def __init__(
        self,
        kind: str,
        name: str,
        known: tuple[str, ...],
        broken: Sequence[Broken] = (),
        left_out: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.name = name
        self.known = known
        claiming = [plugin for plugin in broken if (kind, name) in plugin.claims]
        self.suspects = tuple(claiming or broken)
        """Broken plugins that yielded it before they failed; else all of them."""
        if claiming:
            text = f'{kind} "{name}" cannot be used.'
        else:
            guessed = renamed_to(COMPONENTS.get((kind, name))) or guess(name, known)
            shown = name if len(name) <= 60 else f"{name[:57]}..."
            text = f'no {kind} is called "{shown}"{guessed}.'
            text += f" Known: {', '.join(known) or 'none'}."
            text += "" if guessed or self.suspects else f" {ELSEWHERE}"
        text += "".join(f" Broken plugin: {one}." for one in self.suspects)
        if left_out:
            text += f" Plugins left out: {', '.join(left_out)}."
        super().__init__(text)
        self.cause = self.suspects[0].error if len(self.suspects) == 1 else None
        """The error of the broken plugin, if there is only one."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The usable components by (kind, name), and the plugins that are broken."""

    components: Mapping[tuple[str, str], Provided]
    broken: tuple[Broken, ...] = ()
    heavy: tuple[str, ...] = ()
    """Providers that imported torch while being loaded."""
    disabled: tuple[EntryPoint, ...] = ()
    """Installed plugins that the environment leaves out."""

    @classmethod
    def of(
        cls, plugins: Iterable[tuple[str, object]], entry_points: Iterable[EntryPoint] = ()
    ) -> Registry:
        """Register (provider, plugin) pairs, then entry points, which alone may be broken.

        A plugin is a module or object with a `@hookimpl def addkit_components()`. Raises
        `PluginError` if a plugin of a pair is not valid, or two plugins provide one name.
        """
        # The default argument binds this plugin; a plain closure would give the last one.
        ready = ((provider, lambda plugin=plugin: plugin) for provider, plugin in plugins)
        return cls.loaded(ready, entry_points)

    @classmethod
    def loaded(
        cls,
        plugins: Iterable[tuple[str, Callable[[], object]]],
        entry_points: Iterable[EntryPoint] = (),
    ) -> Registry:
        """As `of`, with functions that import the plugins of the pairs."""
        loader = Loader()
        for provider, load in plugins:
            loader.add(provider, load)
        for entry_point in entry_points:
            loader.add_entry_point(entry_point)
        components = loader.components()
        return cls(components, tuple(loader.broken), tuple(dict.fromkeys(loader.heavy)))

    def get(self, kind: str, name: str) -> Provided:
        """The component. Raises `UnknownComponent`, which lists and guesses names, for none."""
        try:
            return self.components[kind, name]
        except KeyError:
            # Everything below is for the error's text, which names what may have been meant.
            left_out = dict.fromkeys(distribution_of(each)[0] for each in self.disabled)
            names = self.names(kind)
            unknown = UnknownComponent(kind, name, names, self.broken, tuple(left_out))
            raise unknown from unknown.cause

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of one kind in alphabetical order."""
        return tuple(sorted(name for of_kind, name in self.components if of_kind == kind))


def load_registry() -> Registry:
    """The built-in components and those of every installed plugin that the environment selects.

    Loaded once for each selection (`addkit.plugin.selection`). A broken third-party plugin is in
    `Registry.broken`, and is warned of once. Raises `PluginError` if two plugins provide a
    component of the same kind and name, a selected plugin or plugin file is missing, or with
    ADDKIT_STRICT_PLUGINS=1 a plugin is broken.
    """
    return _selected(Selection.from_environment())


@functools.cache
def _selected(selection: Selection) -> Registry:
    plugins = [*built_ins(), *(import_file(file) for file in selection.files)]
    installed = installed_plugins()
    # Before loading: a misspelt --no-plugin must not load the very plugin that it should leave out.
    selection.check(distribution_of(each)[0] for each in installed)
    admitted = [each for each in installed if selection.admits(distribution_of(each)[0])]
    registry = Registry.loaded(plugins, admitted)
    registry = replace(registry, disabled=tuple(each for each in installed if each not in admitted))
    report_faults(registry.broken, registry.heavy, selection.strict)
    return registry


def installed_plugins() -> list[EntryPoint]:
    """Entry points of every installed plugin, in an order that does not depend on the disk."""
    if not plugins_may_be_installed():
        return []
    from importlib.metadata import entry_points

    installed = entry_points(group=GROUP)
    return sorted(installed, key=lambda each: (distribution_of(each)[0], each.name))


def loaded_third_parties() -> tuple[str, ...]:
    """Packages and files other than addkit that this process has loaded components of."""
    # Called while an error is printed: loading plugins now could fail a second time.
    if not _selected.cache_info().currsize:
        return ()
    components = load_registry().components.values()
    return tuple(dict.fromkeys(each.distribution for each in components if each.is_third_partys))


def built_ins() -> list[tuple[str, Callable[[], object]]]:
    """Provider and import of each of addkit's own catalogue pages."""
    from importlib import import_module

    # Imports are delayed until the loader watches them for torch.
    provider = f"addkit {__version__}"
    return [(provider, functools.partial(import_module, page)) for page in BUILT_INS]


def report_faults(broken: Sequence[Broken], heavy: Sequence[str], strict: bool) -> None:
    """Warn of broken plugins and of those that import torch while being loaded.

    Raises:
        PluginError: `strict`, and there is one.
    """
    faults: list[tuple[str, BaseException | None]] = [
        (f"broken plugin: {each}", each.error) for each in broken
    ]
    faults += [
        (f"plugin {who} imports torch when it is loaded; import it inside build instead", None)
        for who in heavy
    ]
    # The first is enough: it carries the traceback of its own cause.
    if strict and faults:
        text, error = faults[0]
        raise PluginError(f"{text}. (ADDKIT_STRICT_PLUGINS=1)") from error
    if faults and reports_plugins():
        for text, _ in faults:
            warnings.warn(f"{text}; continuing", AddkitWarning, stacklevel=4)


HASH = " sha256:"


def identity_of(provided: Provided) -> str:
    """Such as `addkit 0.1.0`, `my.py sha256:1f2e3d4c` or `addkit-clip 0.3 sha256:1f2e3d4c`.

    A package that is being worked on (`pip install -e`) changes without its version.
    """
    if not provided.module:
        return provided.provider
    # The outermost package around the module that is no namespace (those have no file, and may be
    # shared by several distributions).
    parts = provided.module.split(".")
    around = (".".join(parts[: count + 1]) for count in range(len(parts)))
    package = next(name for name in around if sys.modules[name].__file__)
    return provided.provider + HASH + source_hash(package)


def third_parties(names: Mapping[str, str]) -> dict[str, str]:
    """Kind -> `NAME (IDENTITY)` of those components, named by kind, that are not addkit's own."""
    components = load_registry().components
    chosen = {kind: components.get((kind, name)) for kind, name in names.items()}
    return {
        kind: f"{names[kind]} ({identity_of(provided)})"
        for kind, provided in chosen.items()
        if provided is not None and provided.is_third_partys
    }


# Once a process: files that change while a training runs are not what it runs.
@functools.cache
def source_hash(package: str) -> str:
    """Eight digits of the SHA-256 of an imported package's Python files, names and texts."""
    module = sys.modules[package]
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    files = [
        (file.relative_to(folder), file) for folder in folders for file in folder.rglob("*.py")
    ]
    if not folders and module.__file__:
        files = [(Path(Path(module.__file__).name), Path(module.__file__))]
    digest = hashlib.sha256()
    # Sorted by the path within the package: the order of a folder depends on the disk, and the
    # package's own place on the machine.
    for name, file in sorted(files):
        # The zero byte separates names from texts, so that no two sets of files read alike.
        digest.update(f"{name.as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:8]
