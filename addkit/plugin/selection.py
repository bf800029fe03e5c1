"""Select the plugins that a process loads.

Environment variables select them, so that workers of a training or an ablation load the same
plugins as the command that started them; options of the command line only set the variables.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from addkit.errors import PluginError, guess

GROUP = "addkit"
"""The entry-point group that third parties write in their pyproject.toml."""

ONLY = "ADDKIT_PLUGINS"
"""Load these installed plugins alone, `a,b`; an empty value loads none."""
WITHOUT = "ADDKIT_NO_PLUGINS"
"""Do not load these installed plugins, `a,b`."""
FILES = "ADDKIT_PLUGIN_FILES"
"""Load these Python files as plugins, joined as in PATH."""
STRICT = "ADDKIT_STRICT_PLUGINS"
"""`1`: a broken plugin is an error."""
REPORTED_BY = "ADDKIT_PLUGINS_REPORTED_BY"
"""The process that has reported broken plugins; those that it starts stay silent."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the installed plugins to load, by the names of their distributions."""

    only: tuple[str, ...] | None = None
    """None: all of them."""
    without: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    strict: bool = False

    @classmethod
    def from_environment(cls) -> Selection:
        """Read the variables above."""
        # Unset loads all, while an empty value loads none.
        only = os.environ.get(ONLY)
        files = os.environ.get(FILES, "").split(os.pathsep)
        return cls(
            only=None if only is None else _names(only),
            without=_names(os.environ.get(WITHOUT, "")),
            files=tuple(Path(file) for file in files if file),
            strict=os.environ.get(STRICT) == "1",
        )

    def admits(self, distribution: str) -> bool:
        """True if this distribution's plugins are to be loaded."""
        name = canonical(distribution)
        return (self.only is None or name in self.only) and name not in self.without

    def check(self, installed: Iterable[str]) -> None:
        """Raise `PluginError` for a name that no installed plugin has."""
        names = sorted({canonical(name) for name in installed})
        for name in (*(self.only or ()), *self.without):
            if name not in names:
                raise PluginError(
                    f'no installed plugin is called "{name}"{guess(name, names)}. '
                    f"Installed: {', '.join(names) or 'none'}."
                )


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it: My_Plugin is my-plugin."""
    # packaging.utils.canonicalize_name, without importing packaging for one substitution.
    return re.sub(r"[-_.]+", "-", name).lower()


def select(*, none: bool, without: Sequence[str], files: Sequence[Path]) -> None:
    """Add the options of a command line to the environment. Raises `PluginError` if a file is
    missing.
    """
    if none:
        os.environ[ONLY] = ""
    if without:
        os.environ[WITHOUT] = ",".join([os.environ.get(WITHOUT, ""), *without]).strip(",")
    for file in files:
        if not file.is_file():
            raise PluginError(f"plugin file {file}: no such file.")
    if files:
        before = [file for file in os.environ.get(FILES, "").split(os.pathsep) if file]
        # Absolute, since a worker may have another working directory.
        chosen = [*before, *(str(file.absolute()) for file in files)]
        os.environ[FILES] = os.pathsep.join(dict.fromkeys(chosen))


def plugins_may_be_installed() -> bool:
    """False if no installed package has entry points of ours.

    importlib.metadata reads the metadata of every package, which takes longer than all of addkit's
    own imports, so it is used only where a search of the files finds one.
    """
    folders = [Path(folder) for folder in sys.path]
    return any(
        f"[{GROUP}]" in file.read_text("utf-8", "replace")
        for folder in folders
        for file in folder.glob("*-info/entry_points.txt")
    ) or any(folder.is_file() for folder in folders)  # A zip, which is not searched.


def reports_plugins() -> bool:
    """True in one process of a command: the one that a person started, or rank 0."""
    # setdefault writes the variable, which the processes that this one starts inherit.
    own = str(os.getpid())
    return os.environ.get("RANK", "0") == "0" and os.environ.setdefault(REPORTED_BY, own) == own


def _names(text: str) -> tuple[str, ...]:
    return tuple(canonical(name.strip()) for name in text.split(",") if name.strip())
