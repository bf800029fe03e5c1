"""The matched classifier: the same recipe with a control in the denoiser's place. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from addkit.recipe import Recipe, recipe_from_tables

__all__ = ["control_recipe", "heads_of"]


def heads_of(recipe: Recipe) -> tuple[str, ...]:
    """The controls that a recipe trains; a control has none of its own."""
    return () if recipe.choices["denoiser"].name == "control" else recipe.control.heads


def control_recipe(recipe: Recipe, head: str) -> Recipe:
    """Same data, order, augmentation, encoder, conditioner, seed and budget; a classifier's head.

    The loss is plain cross-entropy with the recipe's label smoothing, no condition is dropped, so
    nothing is guided, and the mlp head takes the denoiser's width and depth.
    """
    tables = recipe.tables()
    size = {k: v for k, v in tables["denoiser"].items() if k in ("width", "depth", "dropout")}
    tables["denoiser"] = {"name": "control", "head": head, **size}
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
