"""The metadata of an exported file: all that prepares an image and names an answer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from addkit.model import Inference, Predictor
from addkit.recipe.model import dump_recipe
from addkit.version import __version__


def metadata_of(predictor: Predictor, inference: Inference, precision: str) -> dict[str, str]:
    """JSON by key; docs/deploy.md explains each."""
    facts, recipe = predictor.facts, predictor.recipe
    values = {
        "addkit": __version__,
        "task": recipe.choices["task"].name,
        "class_names": predictor.class_names,
        "token_names": facts.token_names,
        "token_classes": facts.token_classes,
        "pad": facts.pad,
        "image_size": facts.image_size,
        "image_channels": facts.image_channels,
        "mean": facts.mean,
        "std": facts.std,
        "fit": facts.fit,
        "shorter_side": facts.shorter_side,
        "interpolation": facts.interpolation,
        "recipe": recipe.name,
        "recipe_sha256": hashlib.sha256(dump_recipe(recipe).encode()).hexdigest(),
        "inference": asdict(inference.settings),
        "weights": predictor.weights,
        "precision": precision,
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
