"""Trainings of an ablation, each in a worker process of its own.

Whatever ends a worker, an error, too little memory, a crash, the other arms continue. A worker
ends when its stdin closes: an ablation that was killed leaves no process that writes to its runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from addkit.ablation.results import StoredScores
from addkit.errors import AddkitError
from addkit.evaluation.batches import Evaluator, Setting, scores_of
from addkit.model import Inference, build_data, fetch_weights, load, with_encoder_input
from addkit.recipe import recipe_from_tables
from addkit.runs import Run
from addkit.runs.folder import begin_in
from addkit.training.backend import pick_device
from addkit.training.train import train

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Task:
    """A run to finish, and the inference settings to score it with."""

    run: str
    recipe: Mapping[str, Any]
    """Its resolved tables."""
    source: str
    """The recipe's file, for messages."""
    settings: Mapping[str, Mapping[str, Any]]
    """File for the scores -> the tables of `inference_tables`."""


class AblationProgress(Protocol):
    """Callbacks of an ablation, called in its own process."""

    def begin(self, name: str) -> None:
        """A training, or the scoring of a finished one, starts."""
        ...

    def step(self, name: str, step: int, steps: int) -> None:
        """A training has taken `step` of `steps` optimizer steps."""
        ...

    def end(self, name: str, error: str | None) -> None:
        """A training has finished, or failed with an error."""
        ...


@dataclass(slots=True)
class _Worker:
    """A worker process and its stderr."""

    name: str
    process: subprocess.Popen[str]
    run: Run
    stderr: IO[str]

    def close(self) -> str | None:
        """Close its files; returns the last line of its stderr if it failed."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.stderr.seek(0)
        lines = self.stderr.read().strip().splitlines()
        self.stderr.close()
        code = self.process.returncode
        return None if code == 0 else (lines[-1] if lines else f"ended with exit code {code}")


def execute(tasks: Mapping[str, Task], jobs: int, progress: AblationProgress) -> dict[str, str]:
    """Work on all tasks, `jobs` at a time.

    Args:
        tasks: name to show -> task.
        jobs: worker processes; each gets its share of the processor's cores.
        progress: is called when a task begins, advances and ends.

    Returns:
        name -> error of the tasks that failed; the others have written all their scores.
    """
    # Processes, not threads: a worker may be killed for its memory, or crash in a library, and the
    # other arms must not be affected.
    waiting, errors = list(tasks.items()), dict[str, str]()
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                name, task = waiting.pop(0)
                workers.append(_start(name, task, jobs))
                progress.begin(name)
            for worker in list(workers):
                # Progress is read from the run's own files, which the worker writes anyhow.
                steps, lines = worker.run.manifest().steps, worker.run.metrics()
                if steps and lines:
                    progress.step(worker.name, lines[-1]["step"], steps)
                if worker.process.poll() is not None:
                    workers.remove(worker)
                    error = worker.close()
                    if error is not None:
                        errors[worker.name] = error
                    progress.end(worker.name, error)
            time.sleep(POLL_SECONDS if workers else 0)
    finally:
        # After an interrupt; checkpoints are whole at any moment, so kill is enough.
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            worker.close()
    return errors


def _start(name: str, task: Task, jobs: int) -> _Worker:
    # Without a share each worker would start a thread for every core.
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ} if jobs > 1 else None
    # A file, since a pipe that is not read until the end would fill up and block the worker.
    stderr = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by `_Worker.close`.
    # With -c, not -m: the package has imported this module already, which runpy warns about.
    process = subprocess.Popen(
        [sys.executable, "-c", "from addkit.ablation.worker import main; raise SystemExit(main())"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        encoding="utf-8",
        env=environment,
    )
    assert process.stdin is not None
    # Left open: the worker ends when this end is closed, however this process comes to its end.
    process.stdin.write(json.dumps(asdict(task)) + "\n")
    process.stdin.flush()
    return _Worker(name, process, Run(Path(task.run)), stderr)


def main() -> int:
    """The worker: read a task from stdin and do it; an error is one line on stderr and code 1."""
    task = Task(**json.loads(sys.stdin.readline()))

    def end_with_stdin() -> None:
        sys.stdin.read()
        # At once: checkpoints are written whole or not at all, so there is nothing to clean up.
        os._exit(1)

    # A daemon: a thread that waits for stdin must not keep a finished worker alive.
    threading.Thread(target=end_with_stdin, daemon=True).start()
    try:
        work(task)
    except AddkitError as error:
        # One line, since `_Worker.close` returns the last one.
        sys.stderr.write("; ".join(str(error).splitlines()) + "\n")
        return 1
    return 0


def work(task: Task) -> None:
    """Train, or resume the training, and write its scores on the test split for each setting."""
    path = Path(task.run)
    if (path / "recipe.toml").exists():
        run = Run.open(path)
    else:
        recipe = recipe_from_tables(task.recipe, Path(task.source))
        fetch_weights(recipe)
        begin_in(path)
        run = Run.create(path, with_encoder_input(recipe), build_data(recipe).facts)
    recipe = run.recipe()
    # Returns at once if the run has finished: then only scores are missing.
    train(recipe, run)
    if not task.settings:
        return
    predictor = load(run.path, device=pick_device())
    source = build_data(recipe)
    settings: dict[str, Inference] = {}
    for file, tables in task.settings.items():
        changed = recipe_from_tables({**recipe.tables(), **tables}, recipe.source)
        at_steps = partial(Inference.of, changed, predictor.inference.problem)
        steps = None
        if changed.sampling.steps == "auto":
            # On the validation split: a choice on the test split would flatter its scores.
            validation = Evaluator.for_predictor(predictor, source.split("validation"), recipe.seed)
            steps, _ = validation.best_steps(at_steps, predictor.task.headline)
        settings[file] = at_steps(steps)
    # One evaluator for all settings, so that each test image is encoded once.
    evaluator = Evaluator.for_predictor(predictor, source.split("test"), recipe.seed)
    meters = evaluator.score({file: Setting(each) for file, each in settings.items()})
    for file, inference in settings.items():
        scores = scores_of(meters[file])
        stored = StoredScores(
            headline=predictor.task.headline, steps=inference.steps, scores=scores
        )
        stored.write(Path(file))
