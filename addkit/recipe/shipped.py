"""The recipes that come with addkit. No torch."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shipped"]


def shipped(name: str) -> Path:
    """The file of a recipe that comes with addkit: beside the package in a checkout, else in it."""
    package = Path(__file__).parents[1]
    folders = (package / "recipes", package.parent / "recipes")
    return next((f for f in folders if (f / "base").is_dir()), folders[0]) / f"{name}.toml"
