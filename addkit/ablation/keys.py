"""What makes two trainings, or two ways to answer, the same. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from addkit import __version__
from addkit.plugin.identity import third_parties
from addkit.recipe import Recipe

ANSWERING = ("to_one", "sampler", "read_out", "sampling")
"""Tables that say how a trained network answers; it was trained without them."""
TELLING = ("name", "summary", "control", "ablation", "checkpoints", "tracker")
"""What says nothing of the network itself."""


def training_key(recipe: Recipe) -> str:
    """Equal for recipes that train the same network, by this version of addkit."""
    apart = {*ANSWERING, *TELLING}
    tables = {k: v for k, v in recipe.tables().items() if k not in apart}
    return fingerprint({**tables, **_guests(recipe, tables)})


def answer_key(recipe: Recipe) -> str:
    """Equal for recipes that ask a network in the same way."""
    tables = answer_tables(recipe)
    return fingerprint({**tables, **_guests(recipe, tables)})


def answer_tables(recipe: Recipe) -> dict[str, Any]:
    """How the recipe asks."""
    return {key: value for key, value in recipe.tables().items() if key in ANSWERING}


def _guests(recipe: Recipe, tables: Mapping[str, Any]) -> dict[str, Any]:
    """The code of other people's components, which may change under the same recipe."""
    names = {kind: one.name for kind, one in recipe.choices.items() if kind in tables}
    found = third_parties(names)
    return {"plugins": found} if found else {}


def fingerprint(value: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the value's content, whatever the order of its keys."""
    text = json.dumps({"addkit": __version__, **value}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
