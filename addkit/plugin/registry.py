"""Every component that recipes can name, and who provides it. Imports no torch.

Built-ins come through the same hook as third parties. A third party's plugin that is broken is set
aside and remembered, so that one bad package never stops the command line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pluggy

import addkit
from addkit.errors import PluginError
from addkit.plugin import spec as hookspecs
from addkit.plugin.guess import guess
from addkit.plugin.spec import KINDS, Config, Spec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Broken", "Provided", "Registry", "UnknownComponent", "load_registry"]

BUILT_INS = (
    "addkit.tasks",
    "addkit.tokenizers",
    "addkit.data",
    "addkit.data.joint",
    "addkit.encoders",
    "addkit.conditioners",
    "addkit.processes",
    "addkit.embeddings",
    "addkit.denoisers",
    "addkit.schedules",
    "addkit.times",
    "addkit.losses",
    "addkit.to_one",
    "addkit.samplers",
    "addkit.read_outs",
)
"""The catalogue pages, by name so that importing this module imports none of them."""

GROUP = "addkit"
"""The entry-point group that third parties write in their pyproject.toml."""

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_KIND_NAMES = tuple(kind.kind for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Provided:
    """A component and the package it comes from."""

    spec: Spec[Any, Any]
    provider: str
    """Distribution and version, such as `addkit 0.1.0`."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that is installed but could not be used."""

    distribution: str
    version: str
    entry_point: str
    error: Exception

    def __str__(self) -> str:
        error = f"{type(self.error).__name__}: {self.error}"
        return f'{self.distribution} {self.version} (entry point "{self.entry_point}"): {error}'


class UnknownComponent(PluginError):  # noqa: N818 - it says what is the matter
    """No plugin provides a component of this kind and name."""

    def __init__(
        self, kind: str, name: str, known: tuple[str, ...], broken: Iterable[Broken]
    ) -> None:
        self.kind = kind
        self.name = name
        self.known = known
        text = f'no {kind} is called "{name}"{guess(name, known)}.'
        text += f" Known: {', '.join(known) or 'none'}."
        super().__init__(text + "".join(f" Broken plugin: {plugin}." for plugin in broken))


@dataclass(frozen=True, slots=True)
class Registry:
    """The usable components by (kind, name), and the plugins that are broken."""

    components: Mapping[tuple[str, str], Provided]
    broken: tuple[Broken, ...] = ()

    @classmethod
    def of(
        cls, plugins: Iterable[tuple[str, object]], entry_points: Iterable[EntryPoint] = ()
    ) -> Registry:
        """Register (provider, plugin) pairs, then entry points, which alone may be broken.

        A plugin is a module or object with a `@hookimpl def addkit_components()`.

        Raises:
            PluginError: a plugin of a pair is not valid, or two plugins provide one name.
        """
        loader = _Loader()
        for provider, plugin in plugins:
            loader.add(provider, plugin)
        for entry_point in entry_points:
            loader.add_entry_point(entry_point)
        return cls(loader.components(), tuple(loader.broken))

    def get(self, kind: str, name: str) -> Provided:
        """The component. Raises `UnknownComponent`, which lists and guesses names, for none."""
        try:
            return self.components[kind, name]
        except KeyError:
            raise UnknownComponent(kind, name, self.names(kind), self.broken) from None

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of one kind in alphabetical order."""
        return tuple(sorted(name for of_kind, name in self.components if of_kind == kind))


@functools.cache
def load_registry() -> Registry:
    """The built-in components and those of every installed plugin.

    Broken third-party plugins are in `Registry.broken`.

    Raises:
        PluginError: two plugins provide a component of the same kind and name.
    """
    import importlib
    import importlib.metadata

    provider = f"addkit {addkit.__version__}"
    modules = [(provider, importlib.import_module(name)) for name in BUILT_INS]
    return Registry.of(modules, importlib.metadata.entry_points(group=GROUP))


class _Loader:
    """One plugin manager, and who each of its plugins is."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self._manager = pluggy.PluginManager("addkit")
        self._manager.add_hookspecs(hookspecs)
        self._providers: dict[str, str] = {}
        self._entry_points: dict[str, EntryPoint] = {}

    def add(self, provider: str, plugin: object) -> None:
        """Register a plugin that has to work."""
        self._admit(self._new_name(provider), lambda: plugin)

    def add_entry_point(self, entry_point: EntryPoint) -> None:
        """Import and register a plugin, or remember what is wrong with it."""
        distribution, version = _distribution(entry_point)
        name = self._new_name(f"{distribution} {version}")
        self._entry_points[name] = entry_point
        self._admit(name, entry_point.load)

    def components(self) -> dict[tuple[str, str], Provided]:
        """What all sound plugins provide."""
        self._refuse_unknown_hooks()
        found: dict[tuple[str, str], Provided] = {}
        for implementation in self._manager.hook.addkit_components.get_hookimpls():
            for provided in self._yielded(implementation):
                key = (provided.spec.kind, provided.spec.name)
                if key in found:
                    raise PluginError(_clash(found[key], provided))
                found[key] = provided
        return found

    def _new_name(self, provider: str) -> str:
        # Never one in use: setting a plugin aside goes by its name.
        name = f"{provider}:{len(self._providers)}"
        self._providers[name] = provider
        return name

    def _admit(self, name: str, load: Callable[[], object]) -> None:
        try:
            self._register(name, load())
        except Exception as error:
            self._set_aside(name, error)

    def _register(self, name: str, plugin: object) -> None:
        # pluggy's own text for these two would dump every plugin, or is no error at all.
        if plugin is None:
            raise PluginError("it is None, not a module or an object with hooks")
        if self._manager.is_registered(plugin):
            raise PluginError("the same module or object is registered already")
        self._manager.register(plugin, name=name)
        if not self._manager.get_hookcallers(plugin):
            raise PluginError("it has no hook; is @hookimpl missing from addkit_components?")

    def _refuse_unknown_hooks(self) -> None:
        while True:
            try:
                return self._manager.check_pending()
            except pluggy.PluginValidationError as error:
                self._set_aside(self._manager.get_name(error.plugin) or "", error)

    def _yielded(self, implementation: pluggy.HookImpl) -> list[Provided]:
        """The components of one plugin: all of them, or none if one is not valid."""
        provider = self._providers[implementation.plugin_name]
        try:
            specs = cast("Iterable[object]", implementation.function())
            return [Provided(_valid(spec), provider) for spec in specs]
        except Exception as error:
            self._set_aside(implementation.plugin_name, error)
            return []

    def _set_aside(self, name: str, error: Exception) -> None:
        if name not in self._entry_points:
            raise PluginError(f"{self._providers[name]}: {error}") from error
        # A registration that failed half-way has taken the name in some versions of pluggy.
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        entry_point = self._entry_points[name]
        self.broken.append(Broken(*_distribution(entry_point), entry_point.name, error))


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    if entry_point.dist is None:
        return entry_point.module, "(unknown version)"
    return entry_point.dist.name, entry_point.dist.version


def _valid(spec: object) -> Spec[Any, Any]:
    if not isinstance(spec, Spec):
        raise PluginError(f"addkit_components must yield Specs, not {spec!r}")
    if spec.kind not in _KIND_NAMES:
        which = "yield one of the Spec classes in addkit.plugin"
        raise PluginError(f"{type(spec).__name__} is of no known kind; {which}")
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        raise PluginError(f"{spec.kind} {spec.name!r}: names are lower case, digits and hyphens")
    if not (isinstance(spec.config, type) and issubclass(spec.config, Config)):
        raise PluginError(f'{spec.kind} "{spec.name}": its config must be a subclass of Config')
    return spec


def _clash(first: Provided, second: Provided) -> str:
    spec = first.spec
    return f'{spec.kind} "{spec.name}" is provided by {first.provider} and {second.provider}'
