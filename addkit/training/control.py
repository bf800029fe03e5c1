"""The matched classifier: the same recipe with a control in the denoiser's place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from addkit.model import build_network
from addkit.plugin.protocols import DataFacts
from addkit.recipe import Recipe, recipe_from_tables

__all__ = ["control_recipe", "fitting_width", "heads_of"]


def heads_of(recipe: Recipe) -> tuple[str, ...]:
    """The controls that a recipe trains; a control has none of its own."""
    return () if recipe.choices["denoiser"].name == "control" else recipe.control.heads


def control_recipe(recipe: Recipe, head: str, facts: DataFacts) -> Recipe:
    """Same data, order, augmentation, encoder, conditioner, seed and budget; a classifier's head.

    The loss is plain cross-entropy with the recipe's label smoothing, no condition is dropped, so
    nothing is guided. The mlp head takes the denoiser's width and depth, and within its blocks
    the width that gives it as many parameters as ADD has behind the condition.

    Args:
        recipe: ADD's.
        head: `linear` or `mlp`.
        facts: of the recipe's data; sizes follow from K.
    """
    if head != "mlp":
        return _classifier(recipe, head)
    hidden = fitting_width(
        _head_size(recipe, facts),
        lambda width: _head_size(_classifier(recipe, head, hidden=width), facts),
    )
    return _classifier(recipe, head, hidden=hidden)


def fitting_width(wanted: int, size: Callable[[int], int]) -> int:
    """The width, at least 1, whose size comes closest to the wanted one.

    Args:
        wanted: a number of parameters.
        size: width -> number of parameters, affine.
    """
    first, second = size(1), size(2)
    return max(1, 1 + round((wanted - first) / (second - first)))


def _head_size(recipe: Recipe, facts: DataFacts) -> int:
    """Parameters of everything behind the condition: embedding, denoiser and output layer."""
    counts = build_network(recipe, facts, device="meta").parameter_counts()
    return counts.denoiser + counts.projections


def _classifier(recipe: Recipe, head: str, **size: int) -> Recipe:
    tables = recipe.tables()
    kept = {k: v for k, v in tables["denoiser"].items() if k in ("width", "depth", "dropout")}
    tables["denoiser"] = {"name": "control", "head": head, **kept, **size}
    tables["loss"] = _plain_loss(tables["loss"])
    tables["read_out"] = {"name": "prior"}
    tables["conditioner"] = _one_token(recipe, tables["conditioner"])
    tables["training"] = {**tables["training"], "condition_drop": 0.0, "pure_noise": 0.0}
    tables["sampling"] = {**tables["sampling"], "guidance": 1.0, "chains": 1, "early_exit": 0}
    tables["control"] = {"heads": []}
    return replace(recipe_from_tables(tables, recipe.source), files=recipe.files)


def _plain_loss(loss: dict[str, Any]) -> dict[str, Any]:
    smoothing = loss.get("label_smoothing")
    return {"name": "ce"} if smoothing is None else {"name": "ce", "label_smoothing": smoothing}


def _one_token(recipe: Recipe, conditioner: dict[str, Any]) -> dict[str, Any]:
    """A head reads one token: the mean one where ADD reads them all."""
    one = "one-token" in recipe.choices["conditioner"].spec.provides
    return conditioner if one else {"name": "mean-token"}
