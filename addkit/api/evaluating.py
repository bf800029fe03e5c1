"""`addkit.evaluate`: scores of a finished run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from addkit.cli.run_arguments import find_run
from addkit.errors import require_type
from addkit.evaluation.results import Evaluation
from addkit.evaluation.run import EvaluationOptions, Grid, evaluate_run
from addkit.evaluation.run import store as store_evaluation
from addkit.recipe.overrides import Overrides
from addkit.runs import Run

T = TypeVar("T")


def evaluate(
    run: Run | Path | str,
    *,
    steps: int | Sequence[int] | None = None,
    guidance: float | Sequence[float] | None = None,
    read_out: str | Sequence[str] | None = None,
    sampler: str | Sequence[str] | None = None,
    to_one: str | Sequence[str] | None = None,
    chains: int | None = None,
    early_exit: int | Sequence[int] | None = None,
    split: str = "test",
    weights: str = "ema",
    overrides: Overrides = (),
    audit: bool = False,
    table3: bool = False,
    clip: str | None = None,
    uncertainty: bool = False,
    seed: int = 0,
    store: bool = False,
) -> Evaluation:
    """Score a run and its controls: a sequence of typed rows, one for each combination of settings.

    Args:
        run: the run, its folder or its name below runs/, one of its checkpoints, or a pack as
            `addkit.load` takes it.
        steps: chain lengths, one or several; as for the settings that follow, None takes the
            recipe's.
        guidance: w in uncond + w (cond - uncond); 1 is off.
        read_out: names of components.
        sampler: names of components.
        to_one: names of components.
        chains: sampling trajectories for each image.
        early_exit: stop a chain once its answer has not changed for this many steps; 0 disables.
            Several values are compared with each other.
        split: `test`, `validation` or `train`.
        weights: `ema` or `raw`.
        overrides: `{"data.root": ...}` where the data have moved since the training.
        audit: score the loop under five conditions, too.
        table3: captions: compare with copies and with other processes, too.
        clip: captions: the model of the CLIP scores.
        uncertainty: one label: compare the votes of chains with other confidences, too.
        seed: of the sampling noise.
        store: write evaluation.json into the run, as `addkit evaluate` does; not into a pack.

    Raises:
        UsageError: a wrong argument, or one that the run cannot be asked for.
        RunError: no such run, or a damaged one.
        DataError: the data cannot be read.
    """
    require_type("run", run, Run, str, Path)
    path = run.path if isinstance(run, Run) else find_run(run)
    grid = Grid(
        steps=_several(steps),
        guidance=_several(guidance),
        read_out=_several(read_out),
        sampler=_several(sampler),
        to_one=_several(to_one),
        chains=chains,
        early_exit=_several(early_exit),
    )
    options = EvaluationOptions(
        split=split,
        weights=weights,
        overrides=overrides,
        audit=audit,
        table3=table3,
        clip=clip,
        uncertainty=uncertainty,
        seed=seed,
    )
    evaluation = evaluate_run(path, grid, options)
    if store:
        store_evaluation(path, evaluation)
    return evaluation


def _several(value: T | Sequence[T] | None) -> list[T] | None:
    if value is None:
        return None
    # A text is a sequence too, of letters.
    several = isinstance(value, Iterable) and not isinstance(value, str)
    return list(cast("Iterable[T]", value)) if several else [cast("T", value)]
