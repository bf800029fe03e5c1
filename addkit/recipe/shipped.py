"""Recipes by name: those that come with addkit, and those below ./recipes. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from addkit.recipe.errors import Origin, refuse

LOCAL = Path("recipes")
"""Where a person keeps recipes of their own."""


def shipped(name: str) -> Path:
    """The file of a recipe that comes with addkit."""
    return shipped_folder() / f"{name}.toml"


def shipped_folder() -> Path:
    """Of the recipes that come with addkit: beside the package in a checkout, else in it."""
    package = Path(__file__).parents[1]
    folders = (package / "recipes", package.parent / "recipes")
    return next((folder for folder in folders if (folder / "base").is_dir()), folders[0])


def known_recipes() -> dict[str, Path]:
    """Recipes by name, in alphabetical order; one below ./recipes hides a shipped one."""
    folders = (shipped_folder(), LOCAL)
    files = [file for folder in folders for file in sorted(folder.glob("*.toml"))]
    return dict(sorted({file.stem: file for file in files}.items()))


def named(word: Path | str) -> Path:
    """The recipe that a command line means: a path, or the bare name of a known recipe.

    A folder that happens to have a recipe's name, such as a run's, does not hide it.

    Raises:
        RecipeError: it looks like a name, and neither such a file nor such a recipe exists.
    """
    path = Path(word)
    if path.suffix == ".toml" or path.name != os.fspath(word):
        return path
    is_there, known = os.path.lexists(path), known_recipes()
    if path.name in known and (path.is_dir() or not is_there):
        return known[path.name]
    if is_there:
        return path
    from addkit.plugin.guess import guess  # loads pydantic, which completion does without

    near = guess(path.name, [*known, *(file.name for file in Path().glob("*.toml"))])
    there = f", and no recipe of this name. Known: {', '.join(known)}"
    raise refuse(Origin(path.name), f"no such file{near or there}.")
