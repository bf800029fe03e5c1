"""Start a training: in this process, in several new ones, or as one of several."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from addkit.cli.output import note, stop_spinner
from addkit.cli.progress import LiveView
from addkit.distributed.launch import RUN, die_with_parent, launch, processes_here, report_failure
from addkit.distributed.world import inside, joined
from addkit.errors import UsageError
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.training.backend import pick_device
from addkit.training.location import RunLocation, choose_run, clean_start
from addkit.training.train import TrainResult, train

RESTARTED = "TORCHELASTIC_RESTART_COUNT"


def start(
    recipe: Recipe, location: RunLocation, processes: int | None, *, profile: bool
) -> TrainResult | None:
    """Train in this process, in several that it starts, or as one of several.

    Args:
        recipe: as the command line gives it.
        location: of the run.
        processes: asked for on this machine; None: the recipe's number.
        profile: write a trace.

    Returns:
        the result in the process that prints it; None in others.
    """
    if inside():
        return _join(recipe, location, processes, profile)
    count = processes_here(recipe, processes)
    run, made = choose_run(recipe, location, count, note)
    note(f"run: {run.path}")
    with clean_start(run.path, made):
        if count == 1:
            return train(run.recipe(), run, [LiveView()], profile=profile)
        # Its processes write to the same terminal.
        stop_spinner()
        launch(sys.argv[1:], count, run.path)
    return None


def _join(
    recipe: Recipe, location: RunLocation, processes: int | None, profile: bool
) -> TrainResult | None:
    """Train as one process of several; rank 0 shows progress and returns the result."""
    if processes and RUN not in os.environ:
        raise UsageError("--processes starts processes, and torchrun or srun has done so already")
    die_with_parent()
    stop_spinner()
    device = pick_device()
    try:
        with joined(device, note) as world:
            if RUN in os.environ:
                # The launching process has chosen it.
                run = Run.open(Path(os.environ[RUN]))
            else:
                if int(os.environ.get(RESTARTED, "0")):
                    # torchrun repeats the command line, which must not begin a second run.
                    location = RunLocation(location.folder, resume=True, fresh=False)
                chosen = choose_run(recipe, location, world.size, note) if world.is_main else None
                run = Run.open(world.broadcast(chosen[0].path if chosen else Path()))
                if world.is_main:
                    note(f"run: {run.path}")
            views = [LiveView()] if world.is_main else []
            result = train(run.recipe(), run, views, device, world, profile=profile)
    except Exception as error:
        report_failure(error)
        raise
    return result if world.is_main else None
