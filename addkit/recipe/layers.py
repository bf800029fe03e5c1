"""Recipe files and what they extend, laid over each other, each key knowing where it came from."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addkit.errors import RecipeError
from addkit.plugin.guess import guess
from addkit.plugin.spec import KINDS
from addkit.recipe.lines import KeyPath, key_lines
from addkit.recipe.strict import parsed
from addkit.recipe.writing import quoted, shortened

__all__ = ["Layer", "Origin", "load_file", "merge", "shown"]

_OWN_TO_A_FILE = ("name", "summary", "extends")
"""Top-level keys that say what a file is, so nothing that extends it inherits them."""


RIVALS: dict[KeyPath, KeyPath] = {
    ("training", "lr"): ("training", "base_lr"),
    ("training", "base_lr"): ("training", "lr"),
}
"""Two ways to say one thing: who gives one overrides the other, since TOML cannot unset a key."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was written, as a person is told."""

    place: str
    """The file, or the whole `--set table.key=value`."""
    line: int = 0
    """Counted from 1; 0 if there is none to tell."""
    is_override: bool = False

    def __str__(self) -> str:
        return f"{self.place}:{self.line}" if self.line else self.place


@dataclass(frozen=True, slots=True)
class Layer:
    """Tables as TOML gives them, and where each key was written."""

    tables: Mapping[str, Any]
    origins: Mapping[KeyPath, Origin]
    files: tuple[Path, ...] = ()
    """The files read for it, the recipe itself first."""

    def origin(self, path: KeyPath) -> Origin:
        """Where the key was written, or else the first within it, or else the table around it."""
        if path in self.origins:
            return self.origins[path]
        within = [at for key, at in self.origins.items() if key[: len(path)] == path]
        return within[0] if within else self.origin(path[:-1])

    def overrides(self, path: KeyPath) -> list[str]:
        """Every `--set` that wrote a key within this table, in order."""
        origins = (at for key, at in self.origins.items() if key[: len(path)] == path)
        return list(dict.fromkeys(at.place for at in origins if at.is_override))


def merge(base: Layer, over: Layer) -> Layer:
    """`over` laid on `base`: tables merge, other values are replaced.

    A component table that now names another component loses the keys that belonged to the old one,
    and a key loses the base's other way to say the same.
    """
    dropped = {kind.kind for kind in KINDS if _changes_name(kind.kind, base.tables, over.tables)}
    tables = {key: {} if key in dropped else value for key, value in base.tables.items()}
    # The table's own line stays, to have a place for what is said of the whole table.
    origins = {
        path: origin
        for path, origin in base.origins.items()
        if len(path) < 2 or path[0] not in dropped
    }
    files = tuple(dict.fromkeys((*over.files, *base.files)))
    return Layer(
        _merged(_without_rivals(tables, over), over.tables), {**origins, **over.origins}, files
    )


def _without_rivals(tables: Mapping[str, Any], over: Layer) -> dict[str, Any]:
    """The base's tables without the keys for which `over` gives the alternative."""
    gone = {other for key, other in RIVALS.items() if key in over.origins}
    return {
        table: {k: v for k, v in value.items() if (table, k) not in gone}
        if isinstance(value, dict)
        else value
        for table, value in tables.items()
    }


def _changes_name(kind: str, base: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    old, new = base.get(kind), over.get(kind)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return False
    return "name" in old and "name" in new and bool(old["name"] != new["name"])


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def load_file(path: Path) -> Layer:
    """The recipe with everything that it extends merged in.

    Raises:
        RecipeError: a file is missing or is not TOML, or files extend each other in a circle.
    """
    return _load(path, shown(path), ())


def shown(path: Path) -> str:
    """The path to show a person: relative where it lies below the working directory."""
    tidy = Path(os.path.normpath(path))
    return str(tidy.relative_to(Path.cwd()) if tidy.is_relative_to(Path.cwd()) else tidy)


def _load(path: Path, cited: str, trail: tuple[Path, ...]) -> Layer:
    text = _read(path, cited)
    _refuse_circle(path, cited, trail)
    tables = _parsed(text, shown(path))
    origins = {key: Origin(shown(path), line) for key, line in key_lines(text).items()}
    own = Layer(tables, {(): Origin(shown(path)), **origins}, (path,))
    bases = [_base(own, written, (*trail, path)) for written in _extends(own)]
    if not bases:
        return own
    return merge(functools.reduce(merge, bases), own)


def _extends(layer: Layer) -> list[str]:
    extends = layer.tables.get("extends", [])
    written = [extends] if isinstance(extends, str) else extends
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        origin = layer.origin(("extends",))
        found = shortened(extends)
        raise RecipeError(f"{origin}: extends must be a path or a list of paths, found {found}.")
    return written


def _base(layer: Layer, written: str, trail: tuple[Path, ...]) -> Layer:
    path = trail[-1].parent / written
    cited = f"{layer.origin(('extends',))}: extends {quoted(written)}"
    base = _load(path, cited, trail)
    inherited = {key: value for key, value in base.tables.items() if key not in _OWN_TO_A_FILE}
    return Layer(inherited, base.origins, base.files)


def _refuse_circle(path: Path, cited: str, trail: Iterable[Path]) -> None:
    places = [one.resolve() for one in trail]
    place = path.resolve()
    if place in places:
        circle = [*places[places.index(place) :], place]
        chain = " -> ".join(shown(one) for one in circle)
        raise RecipeError(f"{cited}: files extend each other in a circle: {chain}.")


def _read(path: Path, cited: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{cited}: no such file{_near(path)}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{shown(path)}:{line}: not UTF-8 text.") from None
    except OSError as error:
        raise RecipeError(f"{cited}: cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise RecipeError(f"{cited}: cannot be read: {error}.") from None


def _near(path: Path) -> str:
    names = [file.name for file in path.parent.glob("*.toml")]
    return guess(path.name, names) or f" (looked in {path.parent.absolute()})"


def _parsed(text: str, place: str) -> dict[str, Any]:
    try:
        return parsed(text)
    except ValueError as error:
        place, what = _located(place, str(error), text)
        raise RecipeError(f"{place}: not valid TOML: {what}.") from None


def _located(place: str, message: str, text: str) -> tuple[str, str]:
    """The message of tomllib with its position, if it tells one, moved into the place."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found:
        return f"{place}:{found[2]}:{found[3]}", found[1]
    if message.endswith("(at end of document)"):
        return f"{place}:{len(text.splitlines())}", message
    return place, message
