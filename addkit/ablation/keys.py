"""What makes two trainings, or two ways to answer, the same. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from addkit import __version__
from addkit.recipe import Recipe

__all__ = ["ANSWERING", "answer_key", "answer_tables", "fingerprint", "training_key"]

ANSWERING = ("to_one", "sampler", "read_out", "sampling")
"""Tables that say how a trained network answers; it was trained without them."""
TELLING = ("name", "summary", "control", "ablation", "checkpoints", "tracker")
"""What says nothing of the network itself."""


def training_key(recipe: Recipe) -> str:
    """Equal for recipes that train the same network, by this version of addkit."""
    apart = {*ANSWERING, *TELLING}
    return fingerprint({k: v for k, v in recipe.tables().items() if k not in apart})


def answer_key(recipe: Recipe) -> str:
    """Equal for recipes that ask a network in the same way."""
    return fingerprint(answer_tables(recipe))


def answer_tables(recipe: Recipe) -> dict[str, Any]:
    """How the recipe asks."""
    return {key: value for key, value in recipe.tables().items() if key in ANSWERING}


def fingerprint(value: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the value's content, whatever the order of its keys."""
    text = json.dumps({"addkit": __version__, **value}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
