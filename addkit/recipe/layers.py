"""Recipe files and what they extend, laid over each other, each key knowing where it came from."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addkit.plugin.guess import guess
from addkit.plugin.spec import KINDS
from addkit.recipe.errors import Fault, FaultyRecipeError, Origin, refuse
from addkit.recipe.lines import KeyPath, key_lines
from addkit.recipe.requires import check_requires
from addkit.recipe.shipped import known_recipes, shipped
from addkit.recipe.types import parsed
from addkit.recipe.writing import quoted, shortened

REQUIRES = "requires"
RECIPE = "recipe.toml"
"""In a run's folder."""
MOST_NAMES = 8
"""Of files that an error tells."""

_OWN_TO_A_FILE = ("name", "summary", "extends")
"""Top-level keys that say what a file is, so nothing that extends it inherits them."""


RIVALS: dict[KeyPath, KeyPath] = {
    ("training", "lr"): ("training", "base_lr"),
    ("training", "base_lr"): ("training", "lr"),
}
"""Two ways to say one thing: who gives one overrides the other, since TOML cannot unset a key."""


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
    merged = _merged(_without_rivals(tables, over), over.tables)
    if REQUIRES in tables and REQUIRES in over.tables:
        # What a base cannot do without, nothing that extends it can.
        merged[REQUIRES] = list(dict.fromkeys([*tables[REQUIRES], *over.tables[REQUIRES]]))
    return Layer(merged, {**origins, **over.origins}, files)


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


@dataclass(frozen=True, slots=True)
class _Cited:
    """Who asked for a file: the user, or a line that extends it."""

    origin: Origin
    extends: str | None = None

    def refused(self, text: str) -> FaultyRecipeError:
        """The error for a file that cannot be had."""
        if self.extends is None:
            return FaultyRecipeError([Fault(self.origin, text)])
        found = quoted(self.extends)
        return FaultyRecipeError([Fault(self.origin, f"extends {found}: {text}", "extends", found)])


def load_file(path: Path) -> Layer:
    """The recipe with everything that it extends merged in.

    Raises:
        RecipeError: a file is missing or is not TOML, or files extend each other in a circle.
    """
    return _load(path, _Cited(Origin(shown(path))), ())


def shown(path: Path) -> str:
    """The path to show a person: relative where it lies below the working directory."""
    tidy = Path(os.path.normpath(path))
    return str(tidy.relative_to(Path.cwd()) if tidy.is_relative_to(Path.cwd()) else tidy)


def _load(path: Path, cited: _Cited, trail: tuple[Path, ...]) -> Layer:
    text = _read(path, cited)
    _refuse_circle(path, cited, trail)
    tables = _parsed(text, shown(path))
    origins = {key: Origin(shown(path), line) for key, line in key_lines(text).items()}
    own = Layer(tables, {(): Origin(shown(path)), **origins}, (path,))
    require(own)
    bases = [_base(own, written, (*trail, path)) for written in _extends(own)]
    if not bases:
        return own
    return merge(functools.reduce(merge, bases), own)


def require(layer: Layer) -> None:
    """Raise `RecipeError` if a package that the layer's own `requires` names is missing."""
    if REQUIRES in layer.tables:
        check_requires(layer.tables[REQUIRES], layer.origin((REQUIRES,)))


def _extends(layer: Layer) -> list[str]:
    extends = layer.tables.get("extends", [])
    written = [extends] if isinstance(extends, str) else extends
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        allowed, found = "a path or a list of paths", shortened(extends)
        text = f"extends must be {allowed}, found {found}."
        origin = layer.origin(("extends",))
        raise FaultyRecipeError([Fault(origin, text, "extends", found, allowed)])
    return written


def _base(layer: Layer, written: str, trail: tuple[Path, ...]) -> Layer:
    cited = _Cited(layer.origin(("extends",)), written)
    base = _load(_extended(trail[-1].parent, written), cited, trail)
    inherited = {key: value for key, value in base.tables.items() if key not in _OWN_TO_A_FILE}
    return Layer(inherited, base.origins, base.files)


def _extended(folder: Path, written: str) -> Path:
    """A path from the recipe's own folder, or the bare name of a recipe that comes with addkit."""
    path = folder / written
    is_name = Path(written).name == written and not path.exists()
    by_name = shipped(written)
    return by_name if is_name and by_name.is_file() else path


def _refuse_circle(path: Path, cited: _Cited, trail: Iterable[Path]) -> None:
    places = [one.resolve() for one in trail]
    place = path.resolve()
    if place in places:
        circle = [*places[places.index(place) :], place]
        chain = " -> ".join(shown(one) for one in circle)
        raise cited.refused(f"files extend each other in a circle: {chain}.")


def _read(path: Path, cited: _Cited) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise cited.refused(f"no such file{_near(path)}.") from None
    except IsADirectoryError:
        raise cited.refused(f"a folder, not a recipe's file{_within(path)}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise refuse(Origin(shown(path), line), "not UTF-8 text.") from None
    except OSError as error:
        raise cited.refused(f"cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise cited.refused(f"cannot be read: {error}.") from None


def _near(path: Path) -> str:
    if path.is_symlink():
        return " (a link that leads nowhere)"
    names = [file.name for file in path.parent.glob("*.toml")]
    names += [file.parent.name for file in path.parent.glob(f"*/{RECIPE}")]
    # `recipes/digits.toml` where nobody has cloned addkit.
    near = guess(path.name, names) or guess(path.stem, known_recipes())
    return near or f" (looked in {path.parent.absolute()})"


def _within(folder: Path) -> str:
    """What in the folder may have been meant."""
    if (folder / RECIPE).is_file():
        return f"; the recipe of this run is {shown(folder / RECIPE)}"
    names = sorted(file.name for file in folder.glob("*.toml"))
    more = ", ..." if names[MOST_NAMES:] else ""
    return f"; it holds {', '.join(names[:MOST_NAMES])}{more}" if names else " (no .toml in it)"


def _parsed(text: str, place: str) -> dict[str, Any]:
    try:
        return parsed(text)
    except ValueError as error:
        origin, what = _located(place, str(error), text)
        raise refuse(origin, f"not valid TOML: {what}.") from None


def _located(place: str, message: str, text: str) -> tuple[Origin, str]:
    """The message of tomllib with its position, if it tells one, moved into the place."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found:
        return Origin(place, int(found[2]), column=int(found[3])), found[1]
    if message.endswith("(at end of document)"):
        # Not splitlines, which knows ends of lines that no editor counts.
        return Origin(place, len(text.removesuffix("\n").split("\n"))), message
    return Origin(place), message
