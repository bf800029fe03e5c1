"""What exactly a component is: its package, version, and a hash of the package's Python files."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

from addkit.plugin.loading import Provided
from addkit.plugin.registry import load_registry

HASH = " sha256:"


def identity_of(provided: Provided) -> str:
    """Such as `addkit 0.1.0`, `my.py sha256:1f2e3d4c` or `addkit-clip 0.3 sha256:1f2e3d4c`.

    A version says nothing of a package that is being worked on (`pip install -e`).
    """
    if not provided.module:
        return provided.provider
    return provided.provider + HASH + _hash(_package(provided.module))


def third_parties(names: Mapping[str, str]) -> dict[str, str]:
    """Kind -> `NAME (IDENTITY)` of those components, named by kind, that are not addkit's own."""
    known = load_registry().components
    found = {kind: known.get((kind, name)) for kind, name in names.items()}
    return {
        kind: f"{names[kind]} ({identity_of(one)})"
        for kind, one in found.items()
        if one is not None and one.is_third_partys
    }


def _package(module: str) -> str:
    """The outermost package around a module that is not a namespace of several owners."""
    names = module.split(".")
    around = (".".join(names[: count + 1]) for count in range(len(names)))
    return next(name for name in around if sys.modules[name].__file__)


@functools.cache
def _hash(package: str) -> str:
    """Eight digits, of the names and texts of the package's Python files."""
    module = sys.modules[package]
    places = [Path(place) for place in getattr(module, "__path__", ())]
    files = [(file.relative_to(place), file) for place in places for file in place.rglob("*.py")]
    if not places and module.__file__:
        files = [(Path(Path(module.__file__).name), Path(module.__file__))]
    digest = hashlib.sha256()
    for name, file in sorted(files):
        digest.update(f"{name.as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:8]
