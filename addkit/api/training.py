"""`addkit.train`: a recipe with overrides becomes a finished run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from addkit.api.progress import views
from addkit.cli.run_arguments import run_named
from addkit.errors import Stopped, UsageError, require_type
from addkit.model.predictor import check_device
from addkit.recipe import Recipe, read_recipe, recipe_from_tables
from addkit.recipe.model import placed
from addkit.recipe.overrides import Override, Overrides, listed_overrides
from addkit.runs import Run
from addkit.training.location import RunLocation, choose_run, clean_start
from addkit.training.train import TrainResult
from addkit.training.train import train as train_run
from addkit.training.trainer import Callback, StepReport, Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """A score on the way."""

    step: int
    """Steps taken."""
    split: str
    metric: str
    """The task's headline, such as `top1`."""
    value: float


Listener: TypeAlias = "Callback | Callable[[StepReport | ScoreReport], object]"


def train(
    recipe: str | Path | Recipe | Run,
    overrides: Overrides = (),
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
    seed: int | None = None,
    device: str | None = None,
    callbacks: Listener | Sequence[Listener] = (),
    progress: bool | None = None,
    **training: Any,
) -> TrainResult:
    """Train a recipe's model and its matched controls in this process.

    Everything is stored in the run, as by `addkit train`, and an interruption (in a notebook: the
    stop button) saves the training for `resume=True`.

    Args:
        recipe: the name of a recipe, a TOML file, or a checked one; with `resume` also a run.
        overrides: changes to the recipe by dotted key or by table, `{"data.root": "photos"}` or
            `{"data": {"root": "photos"}}`; or texts as after `--set`.
        run_dir: folder of the run; None: a new one below runs/, or with `resume` the newest
            unfinished run of the recipe.
        resume: continue from the last checkpoint.
        fresh: start anew; an old run in `run_dir` is moved aside.
        seed: of all random numbers.
        device: such as `cuda`; None picks a GPU if there is one.
        callbacks: one or several, a `Callback` or a function that is called with a `StepReport`
            after each step and a `ScoreReport` after each score of the model, controls left out.
        progress: show a bar (plain lines where there is neither a terminal nor a notebook) and
            facts of the data; None: only on a terminal or in a notebook.
        training: keys of the recipe's table [training], such as `epochs=5`.

    Raises:
        UsageError: a wrong argument, or a recipe that cannot be used: every unknown key is named,
            with the nearest that exists.
        RunError: nothing to resume, or the run's folder cannot be used.
        DataError: the data cannot be read.
        Stopped: a signal asked for it; all is saved.
    """
    for name, flag in (("resume", resume), ("fresh", fresh)):
        require_type(name, flag, bool)
    require_type("progress", progress, bool, type(None))
    require_type("run_dir", run_dir, str, Path, type(None))
    if resume and fresh:
        raise UsageError("resume continues a run and fresh starts anew; give one of them")
    changes = listed_overrides(overrides)
    changes += [] if seed is None else [Override("seed", seed, "seed")]
    changes += [Override(f"training.{key}", value, key) for key, value in training.items()]
    chosen, folder = _resolved(recipe, changes, None if run_dir is None else Path(run_dir), resume)
    listeners: list[Any] = [*callbacks] if isinstance(callbacks, list | tuple) else [callbacks]
    for listener in listeners:
        if not (isinstance(listener, Callback) or callable(listener)):
            found = type(listener).__name__
            raise UsageError(f"callbacks: found a {found}; give a Callback or a function")
    if device is not None:
        check_device(device)  # Before a folder is made.
    shown, note = views(progress)
    with placed(chosen):
        run, made = choose_run(chosen, RunLocation(folder, resume, fresh), 1, note)
        note(f"run: {run.path}")
        own = [each if isinstance(each, Callback) else _Calls(each, run) for each in listeners]
        try:
            with clean_start(run.path, made):
                return train_run(run.recipe(), run, [*shown, *own], device)
        except Stopped as error:
            # In the words of Python, not of the command line.
            text = str(error).replace("--resume", "resume=True")
            raise Stopped(text, error.exit_code) from error


def _resolved(
    recipe: str | Path | Recipe | Run,
    changes: list[str | Override],
    folder: Path | None,
    resume: bool,
) -> tuple[Recipe, Path | None]:
    """The recipe with its changes, and the folder of its run."""
    if isinstance(recipe, Recipe):
        if changes:
            recipe = recipe_from_tables(recipe.tables(), recipe.source, overrides=changes)
        return recipe, folder
    require_type("recipe", recipe, str, Path, Recipe, Run)
    word = recipe.path if isinstance(recipe, Run) else Path(recipe)
    run = word if isinstance(recipe, Run) else run_named(word)
    if run is None:
        return read_recipe(word, changes), folder
    if not resume:
        raise UsageError(
            f"recipe: {run} is a run; continue it with resume=True, or train its recipe anew: "
            f"{run / 'recipe.toml'}"
        )
    if folder is not None and folder.absolute() != run.absolute():
        raise UsageError(f"run_dir: {run} resumes in its own folder, not in {folder}")
    tables, source = Run.open(run).recipe_tables(), run / "recipe.toml"
    return recipe_from_tables(tables, source, overrides=changes), run


class _Calls(Callback):
    """Calls a function with each step and score of a run's model."""

    def __init__(self, function: Callable[[StepReport | ScoreReport], object], run: Run) -> None:
        self.function, self.run = function, run

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """Call it with the step."""
        if trainer.run == self.run:
            self.function(report)

    def scored(
        self, trainer: Trainer, split: str, value: float, examples: Sequence[tuple[str, str]]
    ) -> None:
        """Call it with the score."""
        if trainer.run == self.run:
            metric, step = trainer.task.headline, trainer.progress.step
            self.function(ScoreReport(step=step, split=split, metric=metric, value=value))
