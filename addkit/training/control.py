"""Matched models: the same recipe with another head or process. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from addkit.errors import RecipeError
from addkit.recipe import Recipe, recipe_from_tables

__all__ = ["control_recipe", "heads_of"]

CLASSIFIERS = ("linear", "mlp")
SEQUENCES = ("autoregressive", "masked", "masked-weighted", "one-shot")


def heads_of(recipe: Recipe) -> tuple[str, ...]:
    """The controls that a recipe trains; a control has none of its own.

    Raises:
        RecipeError: a control that is not of the task.
    """
    if recipe.choices["denoiser"].name == "control":
        return ()
    task = recipe.choices["task"].name
    fit = CLASSIFIERS if task == "classification" else SEQUENCES
    wrong = [head for head in recipe.control.heads if head not in fit]
    if wrong:
        raise RecipeError(
            f'{recipe.source}: [control] heads: "{wrong[0]}" is no control of the task "{task}"; '
            f"there are: {', '.join(fit)}"
        )
    return recipe.control.heads


def control_recipe(recipe: Recipe, head: str) -> Recipe:
    """Same data, order, augmentation, encoder, conditioner, trunk, seed and budget."""
    tables = recipe.tables()
    if head in CLASSIFIERS:
        _classifier(recipe, tables, head)
    else:
        _sequence(tables, head)
    tables["control"] = {"heads": []}
    return replace(recipe_from_tables(tables, recipe.source), files=recipe.files)


def _classifier(recipe: Recipe, tables: dict[str, Any], head: str) -> None:
    """A classifier's head: plain cross-entropy with the recipe's label smoothing.

    No condition is dropped, so nothing is guided, and the mlp head takes the denoiser's width and
    depth.
    """
    size = {k: v for k, v in tables["denoiser"].items() if k in ("width", "depth", "dropout")}
    tables["denoiser"] = {"name": "control", "head": head, **size}
    tables["loss"] = _plain_loss(tables["loss"])
    tables["read_out"] = {"name": "prior"}
    tables["conditioner"] = _one_token(recipe, tables["conditioner"])
    tables["training"] |= {"condition_drop": 0.0, "pure_noise": 0.0}
    tables["sampling"] |= {"guidance": 1.0, "chains": 1, "early_exit": 0}


def _sequence(tables: dict[str, Any], head: str) -> None:
    """Another process over the same tokens. Masked diffusion keeps the share of rows at t = T."""
    tables["denoiser"] |= {"bayes_skip": False, "self_condition": 0.0}
    tables["loss"] = _plain_loss(tables["loss"])
    tables["training"] |= {"token_times": [1.0, 0.0, 0.0], "rollout": 0.0}
    tables["sampling"] |= {"guidance": 1.0, "chains": 1, "early_exit": 0}
    tables["read_out"] = {"name": "consensus"}
    tables["to_one"] = {"name": "argmax"}
    if head == "one-shot":
        tables["training"] |= {"pure_noise": 1.0}
        tables["sampling"] |= {"steps": 1}
        tables["read_out"] = {"name": "prior"}
        return
    tables["embedding"] = {"name": "token"}
    if head == "autoregressive":
        tables["process"] = {"name": "autoregressive"}
        tables["sampler"] = {"name": "left-to-right"}
        tables["sampling"] |= {"steps": 1}
        return
    weight = "1/t" if head == "masked-weighted" else "none"
    tables["process"] = {"name": "masked", "weight": weight}
    tables["sampler"] = {"name": "commit"}


def _plain_loss(loss: dict[str, Any]) -> dict[str, Any]:
    smoothing = loss.get("label_smoothing")
    return {"name": "ce"} if smoothing is None else {"name": "ce", "label_smoothing": smoothing}


def _one_token(recipe: Recipe, conditioner: dict[str, Any]) -> dict[str, Any]:
    """A head reads one token: the mean one where ADD reads them all."""
    one = "one-token" in recipe.choices["conditioner"].spec.provides
    return conditioner if one else {"name": "mean-token"}
