"""Matched controls: the same recipe with another head, or with another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from addkit.errors import RecipeError
from addkit.model import build_network
from addkit.plugin import load_registry
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe, recipe_from_tables

CLASSIFIERS = ("linear", "mlp")
SEQUENCES = ("autoregressive", "masked", "masked-weighted", "one-shot")
# Independent tags of the same trunk, as one-shot's are, under the loss of multi-label papers.
TAGS = (*SEQUENCES, "asymmetric")


def heads_of(recipe: Recipe) -> tuple[str, ...]:
    """The controls that a recipe trains; a control has none of its own. Raises `RecipeError` for a
    control that is not of the task.
    """
    if "reads-state" not in recipe.choices["denoiser"].spec.provides:
        return ()
    allowed = heads_for(recipe)
    for head in recipe.control.heads:
        if head not in allowed:
            task = recipe.choices["task"].name
            raise RecipeError(
                f'{recipe.source}: [control] heads: "{head}" is no control of the task "{task}"; '
                f"allowed: {', '.join(allowed)}"
            )
    return recipe.control.heads


def heads_for(recipe: Recipe) -> tuple[str, ...]:
    """The controls that are possible: other heads for one label, other processes for several."""
    provides = recipe.choices["data"].spec.provides
    if "tags" in provides:
        return TAGS
    return SEQUENCES if {"captions", "attributes"} & provides else CLASSIFIERS


def control_recipe(recipe: Recipe, head: str, facts: DataFacts) -> Recipe:
    """The recipe of a control: same data, order, augmentation, encoder, seed and budget.

    For one label a classifier's head: plain cross-entropy with the recipe's label smoothing and
    class weights, no
    condition dropped, so nothing guided. The mlp head takes the denoiser's width and depth, and
    within its blocks the width that gives it as many parameters as ADD has behind the condition.
    For several labels another process over the same trunk.

    Args:
        recipe: ADD's.
        head: one of `heads_of`.
        facts: of the recipe's data; sizes follow from K.
    """
    if head in TAGS:
        return _sequence(recipe, head)
    if head != "mlp":
        return _classifier(recipe, head)

    def size(candidate: Recipe) -> int:
        """Parameters of everything behind the condition: embedding, denoiser and output layer."""
        # On the meta device, which allocates nothing.
        counts = build_network(candidate, facts, device="meta").parameter_counts()
        return counts.denoiser + counts.projections

    hidden = fitting_width(size(recipe), lambda w: size(_classifier(recipe, head, hidden=w)))
    return _classifier(recipe, head, hidden=hidden)


def fitting_width(wanted: int, size: Callable[[int], int]) -> int:
    """The width, at least 1, whose size comes closest to the wanted one.

    Args:
        wanted: a number of parameters.
        size: width -> number of parameters, affine.
    """
    # Two points fix an affine function.
    first, second = size(1), size(2)
    return max(1, 1 + round((wanted - first) / (second - first)))


def _classifier(recipe: Recipe, head: str, **size: int) -> Recipe:
    tables = recipe.tables()
    same = {k: v for k, v in tables["denoiser"].items() if k in ("width", "depth", "dropout")}
    tables["denoiser"] = {"name": "control", "head": head, **same, **size}
    tables["read_out"] = {"name": "one-pass"}
    if "one-token" not in recipe.choices["conditioner"].spec.provides:
        # A head reads one token: the mean one where ADD reads them all.
        tables["conditioner"] = {"name": "mean-token"}
    # Nothing to drop or to corrupt: a head sees the condition and no noisy label.
    tables["training"] |= {"condition_drop": 0.0, "pure_noise": 0.0}
    return _finished(recipe, tables)


def _sequence(recipe: Recipe, head: str) -> Recipe:
    """Masked diffusion keeps ADD's share of rows at t = T, or the two would not compare."""
    tables = recipe.tables()
    tables["denoiser"] |= {"bayes_skip": False, "self_condition": 0.0}
    tables["training"] |= {"token_times": [1.0, 0.0, 0.0], "rollout": 0.0}
    tables["to_one"] = {"name": "argmax"}
    if head in ("one-shot", "asymmetric"):
        # Every row at t = T: no diffusion. Of tags the cross-entropy is the binary one.
        tables["training"] |= {"pure_noise": 1.0}
        tables["sampling"] |= {"steps": 1}
        tables["read_out"] = {"name": "one-pass"}
        tables["process"] = {"name": "gaussian"}
        # Labels are independent here: evidence on each is added to its own logits.
        tables["sampler"] = {"name": "maskgit" if recipe.sampling.evidence else "renoise"}
        return _finished(recipe, tables, "ce" if head == "one-shot" else head)
    # Tokens are clean or hidden here, never noisy, so they are embedded by a table.
    tables["embedding"] = {"name": "token"}
    tables["read_out"] = {"name": "consensus"}
    if head == "autoregressive":
        tables["process"] = {"name": "autoregressive"}
        tables["sampler"] = {"name": "left-to-right"}
        tables["sampling"] |= {"steps": 1}
    else:
        weight = "1/t" if head == "masked-weighted" else "none"
        tables["process"] = {"name": "masked", "weight": weight}
        tables["sampler"] = {"name": "maskgit"}
    if recipe.sampling.evidence:
        spec: Any = load_registry().get("process", tables["process"]["name"]).spec
        tables["sampler"] = dict(spec.evidence_sampler)
    return _finished(recipe, tables)


def _finished(recipe: Recipe, tables: dict[str, Any], loss_name: str = "ce") -> Recipe:
    """Shared by all controls: a plain loss, one chain without guidance, no controls of its own."""
    loss = tables["loss"] if loss_name == "ce" else {}
    tables["loss"] = {"name": loss_name}
    # What changes the labels' weights changes the question: a control answers the same one.
    kept = ("label_smoothing", "class_weights")
    tables["loss"] |= {key: loss[key] for key in kept if loss.get(key) is not None}
    tables["timesteps"] = {"name": "power"}
    tables["sampling"] |= {"guidance": 1.0, "chains": 1, "early_exit": 0}
    tables["control"] = {"heads": []}
    return replace(recipe_from_tables(tables, recipe.source), files=recipe.files)
