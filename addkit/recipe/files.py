"""Recipe files: find them by name, read them with what they extend, and merge them."""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addkit.errors import guess, require_type
from addkit.plugin.spec import KINDS
from addkit.recipe.errors import Fault, FaultyRecipeError, Origin, refuse
from addkit.recipe.toml import KeyPath, key_lines, parsed, quoted, shortened

if TYPE_CHECKING:
    from packaging.requirements import Requirement


ALLOWED = 'a list of requirements such as ["addkit-clip>=0.3"]'

FROM_FOLDER = " (for a package in a folder: pip install -e FOLDER)"


def check_requires(requires: Any, origin: Origin) -> None:
    """Check that every package is installed, new enough and not left out. Raises `RecipeError` if
    it is no list of requirements, or names what is missing and how to get it.
    """
    # Few recipes require a package, and `packaging` would slow the others down.
    from packaging.requirements import InvalidRequirement, Requirement

    if not (isinstance(requires, list) and all(isinstance(text, str) for text in requires)):
        raise _refused(requires, origin)
    missing = []
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise _refused(text, origin) from None
        if reason := _missing(requirement):
            missing.append((text, reason))
    if not missing:
        return
    # One error with one command for all packages; a package that is left out is installed already.
    packages = ", ".join(f"{text} ({reason})" for text, reason in missing)
    install = " ".join(quoted(text) for text, reason in missing if "left out" not in reason)
    remedy = f" Install them with: pip install {install}{FROM_FOLDER}" if install else ""
    text = f"missing required plugins: {packages}.{remedy}"
    raise FaultyRecipeError([Fault(origin, text, "requires", shortened(requires))])


def _refused(found: Any, origin: Origin) -> FaultyRecipeError:
    text = f"requires must be {ALLOWED}, found {shortened(found)}."
    return FaultyRecipeError([Fault(origin, text, "requires", shortened(found), ALLOWED)])


def _missing(requirement: Requirement) -> str:
    """Why a package does not satisfy a requirement; empty if it does."""
    from importlib.metadata import PackageNotFoundError, version

    from addkit.plugin.selection import Selection, canonical
    from addkit.version import __version__

    try:
        # addkit itself may run from a checkout that is not installed.
        found = __version__ if requirement.name == "addkit" else version(requirement.name)
    except PackageNotFoundError:
        return "not installed"
    # A development version (0.3.dev1) satisfies >=0.2: who works on a package has just that.
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{found} is installed"
    is_own = canonical(requirement.name) == "addkit"
    if not (is_own or Selection.from_environment().admits(requirement.name)):
        return "left out by --no-plugins, --no-plugin or ADDKIT_PLUGINS"
    return ""


LOCAL = Path("recipes")
"""The folder of a user's own recipes."""
REQUIRES = "requires"
RECIPE = "recipe.toml"
"""The recipe's file in a run's folder."""
MOST_NAMES = 8
"""File names that an error lists."""
MOST_BYTES, MOST_FILES = 2**20, 100
"""Of one file, and of files that a recipe extends: beyond them a name is a slip, or an attack."""

_OWN_TO_A_FILE = ("name", "summary", "extends")
"""Top-level keys that describe a file, so nothing that extends it inherits them."""

# A base may set lr and the recipe base_lr (or the reverse); both together are an error.
RIVALS: dict[tuple[str, str], tuple[str, str]] = {
    ("training", "lr"): ("training", "base_lr"),
    ("training", "base_lr"): ("training", "lr"),
}
"""Alternative keys for one value: each removes the other, since TOML cannot unset a key."""


def shipped_folder() -> Path:
    """The folder of the recipes that come with addkit."""
    package = Path(__file__).parents[1]
    # A wheel has them inside the package, a checkout has them next to it.
    folders = (package / "recipes", package.parent / "recipes")
    return next((folder for folder in folders if (folder / "base").is_dir()), folders[0])


def shipped(name: str) -> Path:
    """The file of a recipe that comes with addkit."""
    return shipped_folder() / f"{name}.toml"


def known_recipes() -> dict[str, Path]:
    """Recipes by name, in alphabetical order; one below ./recipes hides a shipped one."""
    folders = (shipped_folder(), LOCAL)
    # Bases lie one folder deeper, and so are no recipes to choose.
    files = [file for folder in folders for file in sorted(folder.glob("*.toml"))]
    return dict(sorted({file.stem: file for file in files}.items()))


def named(word: Path | str) -> Path:
    """The recipe that a word of the command line names: a path, or the name of a known recipe.
    Raises `RecipeError` if it is a bare name, and neither such a file nor such a recipe exists.
    """
    require_type("path", word, str, Path)
    path = Path(word)
    # Only a bare word can be the name of a recipe: with a suffix or a slash it is a path.
    if path.suffix == ".toml" or path.name != os.fspath(word):
        return path
    # lexists: a broken link exists, and its own error is clearer than "no such recipe".
    exists, recipes = os.path.lexists(path), known_recipes()
    # A folder that has a recipe's name, such as a run's, does not hide the recipe.
    if path.name in recipes and (path.is_dir() or not exists):
        return recipes[path.name]
    if exists:
        return path
    near = guess(path.name, [*recipes, *(file.name for file in Path().glob("*.toml"))])
    hint = near or f", and no recipe of this name. Known: {', '.join(recipes)}"
    raise refuse(Origin(path.name), f"no such file{hint}.")


@dataclass(frozen=True, slots=True)
class Layer:
    """Tables as TOML gives them, with the place in which each key was written."""

    tables: Mapping[str, Any]
    find_origins: Callable[[], Mapping[KeyPath, Origin]]
    """Computes `origins`: they need a second scan of each file, and only errors need them."""
    files: tuple[Path, ...] = ()
    """The files read for it, the recipe itself first."""
    whole: frozenset[str] = frozenset()
    """Kinds whose table is one value, `loss = {name = "ce"}`: they inherit no key."""
    inherited: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kind -> key -> the other component for which a layer below wrote that key."""

    @property
    def origins(self) -> Mapping[KeyPath, Origin]:
        """The origin of each key."""
        return self.find_origins()

    def origin(self, path: KeyPath) -> Origin:
        """Where the key was written, or else the first within it, or else the table around it."""
        origins = self.origins
        if path in origins:
            return origins[path]
        within = [origin for key, origin in origins.items() if key[: len(path)] == path]
        return within[0] if within else self.origin(path[:-1])

    def overrides(self, path: KeyPath) -> list[str]:
        """Every `--set` that wrote a key within this table, in order."""
        origins = (origin for key, origin in self.origins.items() if key[: len(path)] == path)
        return list(dict.fromkeys(origin.place for origin in origins if origin.is_override))


def whole_tables(tables: Mapping[str, Any], written: Iterable[str]) -> frozenset[str]:
    """Those tables written as one value that name a component; the others add keys to a table."""
    return frozenset(
        name for name in written if isinstance(tables.get(name), dict) and "name" in tables[name]
    )


def merge(base: Layer, over: Layer) -> Layer:
    """`over` laid on `base`: tables merge, other values are replaced.

    A component table that now names another component keeps the keys of the old one, marked as
    `inherited`: those that the new component lacks are dropped once its settings are at hand. A
    table that is `whole` replaces the old one, and a key removes the base's alternative to it
    (`RIVALS`).
    """
    replaced = {name for name in over.whole if isinstance(base.tables.get(name), dict)}
    inherited: dict[str, Mapping[str, str]] = {}
    for kind in (each.kind for each in KINDS):
        old, new = base.tables.get(kind), over.tables.get(kind)
        if kind in replaced or not isinstance(old, dict):
            continue
        below = dict(base.inherited.get(kind, {}))
        new = new if isinstance(new, dict) else {}
        # A layer without a name changes settings of whichever component the base names.
        if "name" in old and new.get("name", old["name"]) != old["name"]:
            below = {**dict.fromkeys(old.keys() - {"name"}, str(old["name"])), **below}
        below = {key: name for key, name in below.items() if key not in new}
        if below := {**below, **over.inherited.get(kind, {})}:
            inherited[kind] = below
    rivals = set()
    for (table, key), rival in RIVALS.items():
        written = over.tables.get(table)
        rivals |= {rival} if isinstance(written, dict) and key in written else set()
    # New dictionaries throughout: a base may be merged into several recipes.
    tables: dict[str, Any] = {}
    for name, value in base.tables.items():
        if name in replaced:
            tables[name] = {}
        elif isinstance(value, dict):
            tables[name] = {k: v for k, v in value.items() if (name, k) not in rivals}
        else:
            tables[name] = value

    @functools.cache
    def find_origins() -> Mapping[KeyPath, Origin]:
        # A replaced table's own line stays: errors about the whole table need a place.
        stays = {
            path: origin
            for path, origin in base.origins.items()
            if len(path) < 2 or path[0] not in replaced
        }
        return {**stays, **over.origins}

    merged = _merged(tables, over.tables)
    if REQUIRES in tables and REQUIRES in over.tables:
        # Packages that a base needs, whatever extends it needs too.
        merged[REQUIRES] = list(dict.fromkeys([*tables[REQUIRES], *over.tables[REQUIRES]]))
    files = tuple(dict.fromkeys((*over.files, *base.files)))
    # Of a table that either layer wrote whole, a later layer may still inherit.
    return Layer(merged, find_origins, files, over.whole | base.whole, inherited)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        merged[key] = value
    return merged


@dataclass(frozen=True, slots=True)
class _Reference:
    """Where a file is named: on the command line, or in a line that extends it."""

    source: Origin | Layer
    """The word on the command line, or the file with the line."""
    extends: str = ""

    def refused(self, text: str) -> FaultyRecipeError:
        """The error for a file that cannot be read."""
        if isinstance(self.source, Origin):
            return FaultyRecipeError([Fault(self.source, text)])
        origin, found = self.source.origin(("extends",)), shortened(self.extends)
        return FaultyRecipeError([Fault(origin, f"extends {found}: {text}", "extends", found)])


def load_file(path: Path, read: dict[Path, Layer] | None = None) -> Layer:
    """The recipe with everything that it extends merged in. Raises `RecipeError` if a file is
    missing or is not TOML, or files extend each other in a circle.

    Args:
        path: the file.
        read: layers of files that are read already, to which this adds its own: a caller that reads
            several recipes reads their common bases once.
    """
    read = {} if read is None else read
    return _load(path, _Reference(Origin(shown(path))), (), read, len(read) + MOST_FILES)


def shown(path: Path) -> str:
    """The path as errors print it: relative where it lies below the working directory."""
    tidy = Path(os.path.normpath(path))
    return str(tidy.relative_to(Path.cwd()) if tidy.is_relative_to(Path.cwd()) else tidy)


def _load(
    path: Path, reference: _Reference, trail: tuple[Path, ...], read: dict[Path, Layer], most: int
) -> Layer:
    """A file and its bases; `trail` has the resolved files that extend it, the outermost first.

    Raises `RecipeError` if it is more than the `most` files that may be read in all.
    """
    # A layer in `read` is complete, so that no circle leads through it.
    if path in read:
        return read[path]
    if len(read) + len(trail) >= most:
        raise reference.refused(f"a recipe extends at most {MOST_FILES} files.")
    text = _read(path, reference)
    # Resolved, since a circle may lead through links or through two spellings of one path.
    files = (*trail, path.resolve())
    if files[-1] in trail:
        circle = " -> ".join(shown(file) for file in files[files.index(files[-1]) :])
        raise reference.refused(f"files extend each other in a circle: {circle}.")
    place = shown(path)
    try:
        tables = parsed(text)
    except ValueError as error:
        message, origin = str(error), Origin(place)
        # tomllib ends its message in the position.
        if match := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL):
            origin, message = Origin(place, int(match[2]), column=int(match[3])), match[1]
        elif message.endswith("(at end of document)"):
            # Not splitlines, which splits at characters that no editor counts as ends of lines.
            origin = Origin(place, len(text.removesuffix("\n").split("\n")))
        raise refuse(origin, f"not valid TOML: {message}.") from None

    @functools.cache
    def find_origins() -> Mapping[KeyPath, Origin]:
        lines = key_lines(text).items()
        return {(): Origin(place), **{key: Origin(place, line) for key, line in lines}}

    whole = (kind.kind for kind in KINDS if re.search(rf"(?m)^\s*{kind.kind}\s*=\s*\{{", text))
    own = Layer(tables, find_origins, (path,), whole_tables(tables, whole))
    require(own)
    extends = tables.get("extends", [])
    names = [extends] if isinstance(extends, str) else extends
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        allowed, found = "a path or a list of paths", shortened(extends)
        message = f"extends must be {allowed}, found {found}."
        origin = own.origin(("extends",))
        raise FaultyRecipeError([Fault(origin, message, "extends", found, allowed)])
    bases = []
    for number, name in enumerate(names):
        if number == MOST_FILES:
            raise _Reference(own, name).refused(f"a recipe extends at most {MOST_FILES} files.")
        file = path.parent / name
        # A bare name is a file in the same folder, or else a recipe that comes with addkit.
        is_bare = Path(name).name == name and len(name.encode()) < 250  # bytes of a file's name
        if is_bare and not file.exists() and shipped(name).is_file():
            file = shipped(name)
        base = _load(file, _Reference(own, name), files, read, most)
        tables = {key: value for key, value in base.tables.items() if key not in _OWN_TO_A_FILE}
        bases.append(Layer(tables, base.find_origins, base.files, inherited=base.inherited))
    # Of several bases the later wins, and the file itself wins over all of them.
    read[path] = merge(functools.reduce(merge, bases), own) if bases else own
    return read[path]


def require(layer: Layer) -> None:
    """Raise `RecipeError` if a package that the layer's own `requires` names is missing."""
    if REQUIRES in layer.tables:
        check_requires(layer.tables[REQUIRES], layer.origin((REQUIRES,)))


def _read(path: Path, reference: _Reference) -> str:
    try:
        mode = path.stat().st_mode
        # Checked before it is opened: a pipe would block, and a device may never end.
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise reference.refused("a device or a pipe, not a recipe's file.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise reference.refused(f"not a recipe: it has more than {MOST_BYTES:,} bytes.")
        # With or without the byte-order mark that some editors on Windows write.
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        if path.is_symlink():
            raise reference.refused("no such file (a link that leads nowhere).") from None
        names = [file.name for file in path.parent.glob("*.toml")]
        names += [file.parent.name for file in path.parent.glob(f"*/{RECIPE}")]
        # Guess a known recipe too: `recipes/digits.toml` exists in a checkout alone.
        near = guess(path.name, names) or guess(path.stem, known_recipes())
        near = near or f" (looked in {path.parent.absolute()})"
        raise reference.refused(f"no such file{near}.") from None
    except IsADirectoryError:
        if (path / RECIPE).is_file():
            hint = f"; the recipe of this run is {shown(path / RECIPE)}"
        else:
            names = sorted(file.name for file in path.glob("*.toml"))
            more = ", ..." if names[MOST_NAMES:] else ""
            listed = f"; its recipes: {', '.join(names[:MOST_NAMES])}{more}"
            hint = listed if names else " (no .toml in it)"
        raise reference.refused(f"a folder, not a recipe's file{hint}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise refuse(Origin(shown(path), line), "not UTF-8 text.") from None
    except OSError as error:
        raise reference.refused(f"cannot be read: {error.strerror}.") from None
    except ValueError as error:  # A null character in the path.
        raise reference.refused(f"cannot be read: {error}.") from None
