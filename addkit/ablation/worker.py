"""One training of an ablation with all that is asked of it, in a process of its own.

`python -m addkit.ablation.worker` reads a `Task` as JSON from a line of stdin. Whatever happens in
it, an error, too little memory, a crash, the other arms go on. It ends when stdin does: an ablation
that was killed leaves nobody behind who still writes to its runs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from addkit.errors import AddkitError
from addkit.model import Inference, Predictor, build_data, load
from addkit.recipe import Recipe, recipe_from_tables
from addkit.runs import Run
from addkit.runs.atomic import write_json
from addkit.training.environment import pick_device
from addkit.training.evaluation import Case, score_cases
from addkit.training.loop import StepReport
from addkit.training.scoring import CHOICES, best_steps, scores_of
from addkit.training.train import train

__all__ = ["Task", "work"]


@dataclass(frozen=True, slots=True)
class Task:
    """A run to bring to its end, and the ways in which it is to answer."""

    run: str
    answers: Mapping[str, Mapping[str, Any]]
    """File for the scores -> the tables of `answer_tables`."""


class Silence:
    """Shows nothing."""

    def begin(self, title: str, total_steps: int, done: int) -> None:
        """Nothing."""

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def scored(self, split: str, name: str, value: float) -> None:
        """Nothing."""

    def examples(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Nothing."""

    def chosen(self, steps: int, name: str, values: dict[int, float]) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def work(task: Task) -> None:
    """Train, or go on, and write the scores of each way to answer on the test split."""
    run = Run.open(Path(task.run))
    recipe = run.recipe()
    train(recipe, run, Silence())
    if not task.answers:
        return
    predictor = load(run.path, device=pick_device())
    source = build_data(recipe)
    ways = {file: _way(predictor, recipe, tables) for file, tables in task.answers.items()}
    for file, way in ways.items():
        if way.steps == "auto":
            ways[file] = _chosen(predictor, source, way)
    cases = {file: Case(way.inference()) for file, way in ways.items()}
    meters = _scored(predictor, source.split("test"), cases)
    for file, way in ways.items():
        found = {"steps": way.steps, "scores": scores_of(meters[file])}
        write_json(Path(file), {"headline": predictor.task.headline, **found})


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to answer whose steps may still have to be chosen."""

    predictor: Predictor
    recipe: Recipe
    steps: Any

    def inference(self, steps: int | None = None) -> Inference:
        """With these steps where the recipe has none."""
        problem = self.predictor.inference.problem
        return Inference.of(self.recipe, problem, steps or self.steps)


def _way(predictor: Predictor, recipe: Recipe, tables: Mapping[str, Any]) -> _Way:
    asked = recipe_from_tables({**recipe.tables(), **tables}, recipe.source)
    return _Way(predictor, asked, asked.sampling.steps)


def _chosen(predictor: Predictor, source: Any, way: _Way) -> _Way:
    cases = {str(steps): Case(way.inference(steps)) for steps in CHOICES}
    meters = _scored(predictor, source.split("validation"), cases)
    headline = predictor.task.headline
    values = {steps: scores_of(meters[str(steps)])[headline] for steps in CHOICES}
    return _Way(predictor, way.recipe, best_steps(values))


def _scored(predictor: Predictor, images: Any, cases: Mapping[str, Case]) -> Mapping[str, Any]:
    recipe = predictor.recipe
    return score_cases(
        predictor.network,
        images,
        cases,
        predictor.task,
        batch_size=recipe.sampling.batch_size,
        seed=recipe.seed,
        workers=recipe.distributed.workers,
    )


def _end_with_stdin() -> None:
    sys.stdin.read()
    # Checkpoints are written whole or not at all, so there is nothing to tidy.
    os._exit(1)


def main() -> int:
    """Work on the task from stdin; an error is one line on stderr and exit code 1."""
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        work(Task(**told))
    except AddkitError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def told(task: Task) -> str:
    """The task as its line of stdin."""
    return json.dumps(asdict(task)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
