"""Matched models: the same recipe with another head, or with another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from addkit.errors import RecipeError
from addkit.model import build_network
from addkit.plugin.facts import DataFacts
from addkit.recipe import Recipe, recipe_from_tables

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
    fit = heads_for(task)
    wrong = [head for head in recipe.control.heads if head not in fit]
    if wrong:
        raise RecipeError(
            f'{recipe.source}: [control] heads: "{wrong[0]}" is no control of the task "{task}"; '
            f"there are: {', '.join(fit)}"
        )
    return recipe.control.heads


def heads_for(task: str) -> tuple[str, ...]:
    """The controls that a task can have."""
    return CLASSIFIERS if task == "classification" else SEQUENCES


def control_recipe(recipe: Recipe, head: str, facts: DataFacts) -> Recipe:
    """Same data, order, augmentation, encoder, conditioner, seed and budget.

    Of one label a classifier's head: plain cross-entropy with the recipe's label smoothing, no
    condition dropped, so nothing guided. The mlp head takes the denoiser's width and depth, and
    within its blocks the width that gives it as many parameters as ADD has behind the condition.
    Of several labels another process over the same trunk.

    Args:
        recipe: ADD's.
        head: one of `heads_of`.
        facts: of the recipe's data; sizes follow from K.
    """
    if head in SEQUENCES:
        return _sequence(recipe, head)
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
    tables["read_out"] = {"name": "one-pass"}
    tables["timesteps"] = {"name": "power"}
    tables["conditioner"] = _one_token(recipe, tables["conditioner"])
    tables["training"] |= {"condition_drop": 0.0, "pure_noise": 0.0}
    tables["sampling"] |= {"guidance": 1.0, "chains": 1, "early_exit": 0}
    return _without_controls(recipe, tables)


def _sequence(recipe: Recipe, head: str) -> Recipe:
    """Masked diffusion keeps ADD's share of rows at t = T, or the two would not compare."""
    tables = recipe.tables()
    tables["denoiser"] |= {"bayes_skip": False, "self_condition": 0.0}
    tables["loss"] = _plain_loss(tables["loss"])
    tables["training"] |= {"token_times": [1.0, 0.0, 0.0], "rollout": 0.0}
    tables["sampling"] |= {"guidance": 1.0, "chains": 1, "early_exit": 0}
    tables["to_one"] = {"name": "argmax"}
    tables["timesteps"] = {"name": "power"}
    _OF_PROCESS[head](tables)
    return _without_controls(recipe, tables)


def _one_shot(tables: dict[str, Any]) -> None:
    """Every row at t = T: no diffusion."""
    tables["training"] |= {"pure_noise": 1.0}
    tables["sampling"] |= {"steps": 1}
    tables["read_out"] = {"name": "one-pass"}
    tables["process"] = {"name": "gaussian"}
    tables["sampler"] = {"name": "renoise"}


def _autoregressive(tables: dict[str, Any]) -> None:
    _tokens(tables)
    tables["process"] = {"name": "autoregressive"}
    tables["sampler"] = {"name": "left-to-right"}
    tables["sampling"] |= {"steps": 1}


def _masked(tables: dict[str, Any], weight: str = "none") -> None:
    _tokens(tables)
    tables["process"] = {"name": "masked", "weight": weight}
    tables["sampler"] = {"name": "maskgit"}


def _masked_weighted(tables: dict[str, Any]) -> None:
    _masked(tables, "1/t")


def _tokens(tables: dict[str, Any]) -> None:
    tables["embedding"] = {"name": "token"}
    tables["read_out"] = {"name": "consensus"}


_OF_PROCESS: dict[str, Callable[[dict[str, Any]], None]] = {
    "autoregressive": _autoregressive,
    "masked": _masked,
    "masked-weighted": _masked_weighted,
    "one-shot": _one_shot,
}


def _without_controls(recipe: Recipe, tables: dict[str, Any]) -> Recipe:
    tables["control"] = {"heads": []}
    return replace(recipe_from_tables(tables, recipe.source), files=recipe.files)


def _plain_loss(loss: dict[str, Any]) -> dict[str, Any]:
    smoothing = loss.get("label_smoothing")
    return {"name": "ce"} if smoothing is None else {"name": "ce", "label_smoothing": smoothing}


def _one_token(recipe: Recipe, conditioner: dict[str, Any]) -> dict[str, Any]:
    """A head reads one token: the mean one where ADD reads them all."""
    one = "one-token" in recipe.choices["conditioner"].spec.provides
    return conditioner if one else {"name": "mean-token"}
