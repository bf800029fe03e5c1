"""Load plugins: valid ones provide components and commands, broken ones are recorded whole."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from importlib.util import module_from_spec, resolve_name, spec_from_file_location
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
    """A third party's Spec as it was given; `spec` wraps it, to name the plugin in errors."""

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
    """See `Provided`."""

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
        """The name that errors use."""
        return f'command "{self.spec.name}" of {self.provider}'

    def load(self) -> object:
        """Import what the spec names. Raises `PluginError` if it cannot be imported."""
        module, _, name = self.spec.command.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        # A module that calls sys.exit at import must not end the command either.
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
    """Kinds and names of components that it yielded before it failed."""

    def __str__(self) -> str:
        where = f'{self.distribution} {self.version} (entry point "{self.entry_point}")'
        return f"{where}: {one_line(self.error)}"


class Loader:
    """Registers plugins with pluggy and records the provider of each.

    Attributes:
        broken: entry points that could not be used.
        heavy: providers that imported torch while being loaded, which delays every command.
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
        """Import and register a plugin, or record its error."""
        distribution, version = distribution_of(entry_point)
        name = self._new_name(f"{distribution} {version}")
        self._entry_points[name] = entry_point
        self._admit(name, entry_point.load)

    def components(self) -> dict[tuple[str, str], Provided]:
        """The components of all valid plugins. Raises `PluginError` if two provide one name."""
        self._refuse_unknown_hooks()
        components: dict[tuple[str, str], Provided] = {}
        # Not `hook.addkit_components()`: that runs all plugins at once, and one that raises would
        # take the others' components with it.
        for implementation in self._manager.hook.addkit_components.get_hookimpls():
            name = implementation.plugin_name
            yielded: list[Provided] = []
            try:
                with self._watched(name):
                    returned = _iterable(implementation.function(), "addkit_components", "Specs")
                    # One by one, so that what was yielded before a failure is recorded.
                    package = getattr(
                        getattr(implementation.plugin, "__spec__", None), "parent", ""
                    )
                    yielded.extend(self._provided(name, spec, package) for spec in returned)
            except (Exception, SystemExit) as error:
                # All or none: a recipe must not depend on half of a plugin.
                claims = frozenset((each.spec.kind, each.spec.name) for each in yielded)
                self._set_aside(name, error, claims)
                continue
            for provided in yielded:
                key = (provided.spec.kind, provided.spec.name)
                if key in components:
                    raise PluginError(_clash(components[key], provided))
                components[key] = provided
        return components

    def commands(self) -> dict[str, list[ProvidedCommand]]:
        """Name -> the commands of that name, several where plugins clash."""
        self._refuse_unknown_hooks()
        commands: dict[str, list[ProvidedCommand]] = {}
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
                commands.setdefault(spec.name, []).append(provided)
        return commands

    def _new_name(self, provider: str) -> str:
        # Never one in use: a broken plugin is unregistered by its name.
        name = f"{provider}:{len(self._providers)}"
        self._providers[name] = provider
        return name

    def _admit(self, name: str, load: Callable[[], object]) -> None:
        try:
            with self._watched(name):
                plugin = load()
                # pluggy's own text for these two would dump every plugin, or is no error at all.
                if plugin is None:
                    raise PluginError("it is None, not a module or an object with hooks")
                if self._manager.is_registered(plugin):
                    raise PluginError("the same module or object is registered already")
                api = getattr(plugin, "ADDKIT_API", API_VERSION)
                if api != API_VERSION:
                    is_newer = isinstance(api, int) and api > API_VERSION
                    upgrade = "upgrade addkit" if is_newer else f"change the plugin: {API_CHANGES}"
                    raise PluginError(
                        f"it needs plugin API {api!r}, and this addkit has {API_VERSION}; {upgrade}"
                    )
                self._manager.register(plugin, name=name)
                # pluggy registers any object; without a hook it would be ignored in silence.
                if not self._manager.get_hookcallers(plugin):
                    raise PluginError(
                        "it has no hook; is @hookimpl missing from addkit_components?"
                    )
        # A module that calls sys.exit must not end the command either.
        except (Exception, SystemExit) as error:
            self._set_aside(name, error)

    def _refuse_unknown_hooks(self) -> None:
        # pluggy stops at the first plugin with an unknown hook, so it checks again without that.
        while True:
            try:
                return self._manager.check_pending()
            except pluggy.PluginValidationError as error:
                callers = self._manager.get_hookcallers(error.plugin) or ()
                (hook, *_) = (caller.name for caller in callers if not caller.has_spec())
                text = f'addkit has no hook "{hook}"{guess(hook, HOOKS)}. Hooks: {", ".join(HOOKS)}'
                self._set_aside(self._manager.get_name(error.plugin) or "", PluginError(text))

    def _provided(self, name: str, spec: object, package: str) -> Provided:
        """The component of a valid Spec, whose builder names the plugin in its errors."""
        checked = _absolute(_valid(spec), package)
        entry_point = self._entry_points.get(name)
        module = entry_point.module if entry_point else ""
        provided = Provided(checked, self._providers[name], module)
        # addkit's own errors need no plugin's name, and a traceback shows one frame less.
        if not provided.is_third_partys:
            return provided
        build = GuardedBuild(provided.provider, checked)
        return replace(provided, spec=replace(checked, build=build), own_spec=checked)

    @contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        """Record an import of torch, and keep what the plugin prints out of stdout."""
        was_imported = "torch" in sys.modules
        # stdout is data: a line in front of a command's JSON would break it.
        with redirect_stdout(sys.stderr):
            yield
        if not was_imported and "torch" in sys.modules:
            self.heavy.append(self._providers[name])

    def _set_aside(
        self, name: str, error: BaseException, claims: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        """Unregister a plugin and record its error, which is raised for all but entry points."""
        if name not in self._entry_points:
            # A file that the user named, or a page of addkit: nobody means to go without it.
            text = str(error) if isinstance(error, PluginError) else one_line(error)
            raise PluginError(f"{self._providers[name]}: {text}") from error
        # A registration that failed half-way has taken the name in some versions of pluggy.
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        entry_point = self._entry_points[name]
        self.broken.append(Broken(*distribution_of(entry_point), entry_point.name, error, claims))


def distribution_of(entry_point: EntryPoint) -> tuple[str, str]:
    """Name and version of the package that an entry point belongs to."""
    # importlib.metadata knows no distribution where an entry point was made by hand.
    if entry_point.dist is None:
        return entry_point.module, "(unknown version)"
    return entry_point.dist.name, entry_point.dist.version


def import_file(path: Path) -> tuple[str, Callable[[], object]]:
    """The provider of a plugin file, which is its name and hash, and a function that imports it.
    Raises `PluginError` if it cannot be read, or belongs to a package, whose other files it would
    miss.
    """
    if path.name == "__init__.py":
        projects = (folder for folder in path.parents if (folder / "pyproject.toml").is_file())
        install = f"install that instead: pip install -e {next(projects, 'FOLDER')}"
        raise PluginError(f"plugin file {path} is part of a package; {install}.")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PluginError(f"plugin file {path}: {error.strerror}.") from None
    # By the hash, so that two files of one name are two modules.
    name = f"addkit_plugin_file_{digest[:8]}"

    def load() -> object:
        spec = spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise PluginError(f"{path} is no Python file; its name must end in .py")
        module = module_from_spec(spec)
        # Data classes and pickles look their module up by its name.
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            # As Python's own import does: half a module must not be found by a later import.
            del sys.modules[name]
            raise
        return module

    return f"{path.name} sha256:{digest[:8]}", load


def _iterable(returned: object, hook: str, what: str) -> Iterable[object]:
    if not isinstance(returned, Iterable):
        # Such as None, from a hook that forgot its `yield`.
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
    for what, value, fits in (
        ("build", spec.build, isinstance(spec.build, str) or callable(spec.build)),
        ("summary", spec.summary, isinstance(spec.summary, str)),
    ):
        if not fits:
            raise PluginError(f'{spec.kind} "{spec.name}": its {what} cannot be {value!r}')
    # A path is checked when it is imported: importing it now would load pydantic for a listing.
    if not isinstance(spec.config, str):
        from addkit.plugin.config import Config

        title, settings = f'{spec.kind} "{spec.name}"', spec.config
        if not (isinstance(settings, type) and issubclass(settings, Config)):
            raise PluginError(f"{title}: its config must be a subclass of Config")
        if "name" in settings.model_fields:
            raise PluginError(f'{title}: "name" is taken, its config cannot use it')
    return spec


def _absolute(spec: Spec[Any, Any], package: str) -> Spec[Any, Any]:
    """The Spec with import paths that do not depend on the plugin's package."""
    paths = {"config": spec.config, "build": spec.build}
    relative = {k: p for k, p in paths.items() if isinstance(p, str) and p.startswith(".")}
    if relative and not package:
        path = next(iter(relative.values()))
        raise PluginError(
            f'{spec.kind} "{spec.name}": the path "{path}" is relative, and the plugin is no '
            "package; write it from the top"
        )
    absolute: dict[str, Any] = {k: resolve_name(p, package) for k, p in relative.items()}
    return replace(spec, **absolute) if absolute else spec


def _clash(first: Provided, second: Provided) -> str:
    spec = first.spec
    text = f'{spec.kind} "{spec.name}" is provided by {first.provider} and {second.provider}; '
    owners = dict.fromkeys([first.distribution, second.distribution])
    # Neither addkit itself nor a file can be left out by --no-plugin.
    packages = [owner for owner in owners if owner != "addkit" and not owner.endswith(".py")]
    if packages:
        options = " or ".join(f"--no-plugin {package}" for package in packages)
        return f"{text}disable one with {options}"
    return text + "leave out --plugin-file"
