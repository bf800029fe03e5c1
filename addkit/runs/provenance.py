"""Whether the plugins that a run was made with are the ones that are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from addkit.plugin.identity import HASH, third_parties
from addkit.recipe import Recipe

OBSERVERS = ("tracker",)
"""Kinds that change nothing of the result."""


def changed(manifest: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """`KIND was OLD and is NEW`, for each component whose code is not what the manifest names.

    Of what runs of before hashes were written, nothing is known.
    """
    names = {k: one.name for k, one in recipe.choices.items() if k not in OBSERVERS}
    now, before = third_parties(names), _components(manifest)
    return [
        f"{kind} was {before[kind]} and is {new}"
        for kind, new in now.items()
        if HASH in before.get(kind, "") and _hash(before[kind]) != _hash(new)
    ]


def made_with(manifest: Mapping[str, Any]) -> str:
    """A sentence that names the plugins of a run; empty if it has none."""
    guests = {kind: one for kind, one in _components(manifest).items() if "(addkit " not in one}
    told = ", ".join(f"{kind} {one}" for kind, one in guests.items())
    return f"This run was made with {told}." if told else ""


def _components(manifest: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = manifest.get("environment", {}).get("components", {})
    return found


def _hash(identity: str) -> str:
    return identity.rpartition(HASH)[2].rstrip(")")
