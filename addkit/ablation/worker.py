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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from addkit.data.loader import fitting_workers
from addkit.errors import AddkitError
from addkit.evaluation.batches import Case, score_cases
from addkit.model import Inference, Predictor, build_data, load
from addkit.plugin.protocols import DataSource, ImageSet, Meter
from addkit.recipe import recipe_from_tables
from addkit.runs import Run
from addkit.runs.atomic import write_json
from addkit.training.environment import pick_device
from addkit.training.scoring import best_steps, scores_of
from addkit.training.train import train
from addkit.training.view import View


@dataclass(frozen=True, slots=True)
class Task:
    """A run to bring to its end, and the ways in which it is to answer."""

    run: str
    recipe: Mapping[str, Any]
    """Its resolved tables."""
    source: str
    """The recipe's file, for messages."""
    answers: Mapping[str, Mapping[str, Any]]
    """File for the scores -> the tables of `answer_tables`."""


def work(task: Task) -> None:
    """Train, or go on, and write the scores of each way to answer on the test split."""
    run = _opened(task)
    recipe = run.recipe()
    train(recipe, run, View())
    if not task.answers:
        return
    predictor = load(run.path, device=pick_device())
    source = build_data(recipe)
    ways = {file: _way(predictor, source, tables) for file, tables in task.answers.items()}
    meters = _scored(predictor, source.split("test"), {f: Case(w) for f, w in ways.items()})
    for file, way in ways.items():
        found = {"steps": way.steps, "scores": scores_of(meters[file])}
        write_json(Path(file), {"headline": predictor.task.headline, **found})


def _opened(task: Task) -> Run:
    """The run, made where this is its first time."""
    path = Path(task.run)
    if (path / "recipe.toml").exists():
        return Run.open(path)
    recipe = recipe_from_tables(task.recipe, Path(task.source))
    return Run.create(path, recipe, build_data(recipe).facts)


def _way(predictor: Predictor, source: DataSource, tables: Mapping[str, Any]) -> Inference:
    """How the tables ask; the steps are chosen on the validation split where they say auto."""
    recipe = predictor.recipe
    asked = recipe_from_tables({**recipe.tables(), **tables}, recipe.source)

    def ask(steps: int | None = None) -> Inference:
        return Inference.of(asked, predictor.inference.problem, steps)

    if asked.sampling.steps != "auto":
        return ask()
    split = source.split("validation")
    headline = predictor.task.headline
    return ask(best_steps(partial(_scored, predictor, split), ask, headline)[0])


def _scored(
    predictor: Predictor, images: ImageSet, cases: Mapping[str, Case]
) -> Mapping[str, Meter]:
    recipe = predictor.recipe
    return score_cases(
        predictor.network,
        images,
        cases,
        predictor.task,
        batch_size=recipe.sampling.batch_size,
        seed=recipe.seed,
        workers=fitting_workers(recipe.distributed.workers, 1),
    )


def _end_with_stdin() -> None:
    sys.stdin.read()
    # Checkpoints are written whole or not at all, so there is nothing to tidy.
    os._exit(1)


def main() -> int:
    """Work on the task from stdin; an error is one line on stderr and exit code 1."""
    task = Task(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        work(task)
    except AddkitError as error:
        # One line, since the last one of what it wrote is what is told.
        sys.stderr.write("; ".join(str(error).splitlines()) + "\n")
        return 1
    return 0


def as_line(task: Task) -> str:
    """The task as its line of stdin."""
    return json.dumps(asdict(task)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
