"""Loading plugins: the sound ones give their components, a broken one is set aside whole."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from addkit.errors import PluginError, guess
from addkit.plugin import spec as hookspecs
from addkit.plugin.contract import GuardedBuild, one_line
from addkit.plugin.spec import API_VERSION, KINDS, CommandSpec, Spec
from addkit.renamed import API_CHANGES

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


HOOKS = ("addkit_components", "addkit_commands")

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_KIND_NAMES = tuple(kind.kind for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Provided:
    """A component and the package it comes from."""

    spec: Spec[Any, Any]
    provider: str
    """Distribution and version, such as `addkit 0.1.0`; of a file its name and a hash."""
    module: str = ""
    """The module of the entry point; empty for addkit's own, and for files."""
    own_spec: Spec[Any, Any] | None = None
    """A third party's Spec as it was given; `spec` builds the same and blames the plugin."""

    @property
    def distribution(self) -> str:
        """The package's name, or the file's."""
        return self.provider.rpartition(" ")[0]

    @property
    def is_third_partys(self) -> bool:
        """True if it is not addkit's own."""
        return self.distribution != "addkit"

    @property
    def version(self) -> str:
        """The package's version, or the file's hash."""
        return self.provider.rpartition(" ")[2]


@dataclass(frozen=True, slots=True)
class ProvidedCommand:
    """A command and the package or file it comes from."""

    spec: CommandSpec
    provider: str
    """As of `Provided`."""

    @property
    def distribution(self) -> str:
        """The package's name, or the file's."""
        return self.provider.rpartition(" ")[0]

    @property
    def version(self) -> str:
        """The package's version, or the file's hash."""
        return self.provider.rpartition(" ")[2]

    @property
    def title(self) -> str:
        """As errors name it."""
        return f'command "{self.spec.name}" of {self.provider}'

    def load(self) -> object:
        """Import what the spec names.

        Raises:
            PluginError: it cannot be imported.
        """
        module, _, name = self.spec.command.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.title} cannot be loaded: {one_line(error)}") from error


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that is installed but could not be used."""

    distribution: str
    version: str
    entry_point: str
    error: BaseException
    claims: frozenset[tuple[str, str]] = field(default=frozenset())
    """Kinds and names of components that it gave before it failed."""

    def __str__(self) -> str:
        where = f'{self.distribution} {self.version} (entry point "{self.entry_point}")'
        return f"{where}: {one_line(self.error)}"


class Loader:
    """One plugin manager, and who each of its plugins is.

    Attributes:
        broken: entry points that could not be used.
        heavy: who imported torch while being loaded, which every command then waits for.
    """

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self.heavy: list[str] = []
        self._manager = pluggy.PluginManager("addkit")
        self._manager.add_hookspecs(hookspecs)
        self._providers: dict[str, str] = {}
        self._entry_points: dict[str, EntryPoint] = {}

    def add(self, provider: str, load: Callable[[], object]) -> None:
        """Register a plugin that has to work. Raises `PluginError` if it does not."""
        self._admit(self._new_name(provider), load)

    def add_entry_point(self, entry_point: EntryPoint) -> None:
        """Import and register a plugin, or remember what is wrong with it."""
        distribution, version = distribution_of(entry_point)
        name = self._new_name(f"{distribution} {version}")
        self._entry_points[name] = entry_point
        self._admit(name, entry_point.load)

    def components(self) -> dict[tuple[str, str], Provided]:
        """What all sound plugins provide. Raises `PluginError` if two provide one name."""
        self._refuse_unknown_hooks()
        found: dict[tuple[str, str], Provided] = {}
        for implementation in self._manager.hook.addkit_components.get_hookimpls():
            for provided in self._yielded(implementation):
                key = (provided.spec.kind, provided.spec.name)
                if key in found:
                    raise PluginError(_clash(found[key], provided))
                found[key] = provided
        return found

    def commands(self) -> dict[str, list[ProvidedCommand]]:
        """Name -> the commands of that name, several where plugins clash."""
        self._refuse_unknown_hooks()
        found: dict[str, list[ProvidedCommand]] = {}
        for implementation in self._manager.hook.addkit_commands.get_hookimpls():
            name = implementation.plugin_name
            try:
                with self._watched(name):
                    yielded = _iterable(
                        implementation.function(), "addkit_commands", "CommandSpecs"
                    )
                    specs = [_valid_command(spec) for spec in yielded]
            except (Exception, SystemExit) as error:
                self._set_aside(name, error)
                continue
            for spec in specs:
                provided = ProvidedCommand(spec, self._providers[name])
                found.setdefault(spec.name, []).append(provided)
        return found

    def _new_name(self, provider: str) -> str:
        # Never one in use: setting a plugin aside goes by its name.
        name = f"{provider}:{len(self._providers)}"
        self._providers[name] = provider
        return name

    def _admit(self, name: str, load: Callable[[], object]) -> None:
        try:
            with self._watched(name):
                self._register(name, load())
        # A module that calls sys.exit must not end the command either.
        except (Exception, SystemExit) as error:
            self._set_aside(name, error)

    def _register(self, name: str, plugin: object) -> None:
        # pluggy's own text for these two would dump every plugin, or is no error at all.
        if plugin is None:
            raise PluginError("it is None, not a module or an object with hooks")
        if self._manager.is_registered(plugin):
            raise PluginError("the same module or object is registered already")
        wanted = getattr(plugin, "ADDKIT_API", API_VERSION)
        if wanted != API_VERSION:
            raise PluginError(_other_api(wanted))
        self._manager.register(plugin, name=name)
        if not self._manager.get_hookcallers(plugin):
            raise PluginError("it has no hook; is @hookimpl missing from addkit_components?")

    def _refuse_unknown_hooks(self) -> None:
        while True:
            try:
                return self._manager.check_pending()
            except pluggy.PluginValidationError as error:
                text = self._misspelt(error.plugin)
                self._set_aside(self._manager.get_name(error.plugin) or "", PluginError(text))

    def _misspelt(self, plugin: object) -> str:
        callers = self._manager.get_hookcallers(plugin) or ()
        (name, *_) = (caller.name for caller in callers if not caller.has_spec())
        return f'addkit has no hook "{name}"{guess(name, HOOKS)}. Hooks: {", ".join(HOOKS)}'

    def _yielded(self, implementation: pluggy.HookImpl) -> list[Provided]:
        """The components of one plugin: all of them, or none if one is not valid."""
        name = implementation.plugin_name
        found: list[Provided] = []
        try:
            with self._watched(name):
                specs = _iterable(implementation.function(), "addkit_components", "Specs")
                # One by one, so that what was given before a failure is known.
                found.extend(self._provided(name, _valid(spec)) for spec in specs)
        except (Exception, SystemExit) as error:
            claims = frozenset((one.spec.kind, one.spec.name) for one in found)
            self._set_aside(name, error, claims)
            return []
        return found

    def _provided(self, name: str, spec: Spec[Any, Any]) -> Provided:
        entry_point = self._entry_points.get(name)
        module = entry_point.module if entry_point else ""
        provided = Provided(spec, self._providers[name], module)
        if not provided.is_third_partys:
            return provided
        build = GuardedBuild(provided.provider, spec)
        return replace(provided, spec=replace(spec, build=build), own_spec=spec)

    @contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        was_there = "torch" in sys.modules
        # What a plugin prints must not stand in a command's result.
        with redirect_stdout(sys.stderr):
            yield
        if not was_there and "torch" in sys.modules:
            self.heavy.append(self._providers[name])

    def _set_aside(
        self, name: str, error: BaseException, claims: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        if name not in self._entry_points:
            raise PluginError(f"{self._providers[name]}: {_told(error)}") from error
        # A registration that failed half-way has taken the name in some versions of pluggy.
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        entry_point = self._entry_points[name]
        found = distribution_of(entry_point)
        self.broken.append(Broken(*found, entry_point.name, error, claims))


def distribution_of(entry_point: EntryPoint) -> tuple[str, str]:
    """Name and version of the package that an entry point belongs to."""
    if entry_point.dist is None:
        return entry_point.module, "(unknown version)"
    return entry_point.dist.name, entry_point.dist.version


def import_file(path: Path) -> tuple[str, Callable[[], object]]:
    """Who a plugin file is, its name and a hash of its text, and what imports it.

    Raises:
        PluginError: it cannot be read, or belongs to a package, whose other files it would miss.
    """
    if path.name == "__init__.py":
        raise PluginError(f"plugin file {path} is part of a package; {_install(path)}.")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PluginError(f"plugin file {path}: {error.strerror}.") from None
    module = f"addkit_plugin_file_{digest[:8]}"
    return f"{path.name} sha256:{digest[:8]}", lambda: _imported(module, path)


def _install(file: Path) -> str:
    owners = (folder for folder in file.parents if (folder / "pyproject.toml").is_file())
    return f"install that instead: pip install -e {next(owners, 'FOLDER')}"


def _imported(name: str, path: Path) -> object:
    found = spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise PluginError(f"{path} is no Python file; its name must end in .py")
    module = module_from_spec(found)
    # Data classes and pickles look their module up by its name.
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, PluginError) else one_line(error)


def _other_api(wanted: object) -> str:
    is_newer = isinstance(wanted, int) and wanted > API_VERSION
    remedy = "upgrade addkit" if is_newer else f"change the plugin: {API_CHANGES}"
    return f"it wants plugin API {wanted!r}, and this addkit has {API_VERSION}; {remedy}"


def _iterable(returned: object, hook: str, what: str) -> Iterable[object]:
    if not isinstance(returned, Iterable):
        raise PluginError(f"{hook} must yield {what}, and it returned {returned!r}")
    return returned


def _valid_command(spec: object) -> CommandSpec:
    if not isinstance(spec, CommandSpec):
        raise PluginError(f"addkit_commands must yield CommandSpecs, not {spec!r}")
    for key in ("name", "help", "command"):
        if not isinstance(getattr(spec, key), str) or not getattr(spec, key).strip():
            raise PluginError(f"command {spec.name!r}: its {key} must be a text")
    if not _NAME.fullmatch(spec.name):
        raise PluginError(f"command {spec.name!r}: names are lower case, digits and hyphens")
    if not re.fullmatch(r"[\w.]+:\w+", spec.command):
        raise PluginError(
            f'command "{spec.name}": its import path is "package.module:function", '
            f"not {spec.command!r}"
        )
    return spec


def _valid(spec: object) -> Spec[Any, Any]:
    if not isinstance(spec, Spec):
        raise PluginError(f"addkit_components must yield Specs, not {spec!r}")
    if spec.kind not in _KIND_NAMES:
        which = "yield one of the Spec classes in addkit.plugin"
        raise PluginError(f"{type(spec).__name__} is of no known kind; {which}")
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        raise PluginError(f"{spec.kind} {spec.name!r}: names are lower case, digits and hyphens")
    if not isinstance(spec.config, str):
        _check_settings(spec, spec.config)
    return spec


def _check_settings(spec: Spec[Any, Any], settings: object) -> None:
    from addkit.plugin.config import Config

    if not (isinstance(settings, type) and issubclass(settings, Config)):
        raise PluginError(f'{spec.kind} "{spec.name}": its config must be a subclass of Config')
    if "name" in settings.model_fields:
        raise PluginError(f'{spec.kind} "{spec.name}": "name" is taken, its config cannot use it')


def _clash(first: Provided, second: Provided) -> str:
    spec = first.spec
    text = f'{spec.kind} "{spec.name}" is provided by {first.provider} and {second.provider}; '
    owners = dict.fromkeys([first.distribution, second.distribution])
    packages = [one for one in owners if one != "addkit" and not one.endswith(".py")]
    if packages:
        return text + f"disable one with {' or '.join(f'--no-plugin {one}' for one in packages)}"
    return text + "leave out --plugin-file"
