"""A training starts: in this process, in several that it starts, or as one of several."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from addkit.cli.output import note
from addkit.cli.progress import LiveView
from addkit.cli.run_checks import choose_run, clean_start
from addkit.cli.run_location import Place
from addkit.distributed.launch import RUN, die_with_parent, launch, processes_here, report_failure
from addkit.distributed.world import World, inside, joined
from addkit.errors import UsageError
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.training.environment import pick_device
from addkit.training.train import TrainResult, train
from addkit.training.view import View

RESTARTED = "TORCHELASTIC_RESTART_COUNT"


def start(
    recipe: Recipe, place: Place, processes: int | None, *, profile: bool
) -> TrainResult | None:
    """Train; the result, where this process is the one to tell it.

    Args:
        recipe: as the command line says.
        place: of the run.
        processes: asked for on this machine; None: as the recipe says.
        profile: write a trace.
    """
    if inside():
        return _join(recipe, place, processes, profile)
    count = processes_here(recipe, processes)
    run = choose_run(recipe, place, count)
    note(f"run: {run.path}")
    with clean_start(run):
        if count == 1:
            return train(run.recipe(), run, LiveView(), profile=profile)
        launch(sys.argv[1:], count, run.path)
    return None


def _join(recipe: Recipe, place: Place, processes: int | None, profile: bool) -> TrainResult | None:
    """As one process of several, of which the leading one shows and tells."""
    if processes and RUN not in os.environ:
        raise UsageError("--processes starts processes, and torchrun or srun has done so already")
    die_with_parent()
    device = pick_device()
    try:
        with joined(device) as world:
            run = _chosen(recipe, place, world)
            view = LiveView() if world.is_main else View()
            result = train(run.recipe(), run, view, device, world, profile=profile)
    except Exception as error:
        report_failure(error)
        raise
    return result if world.is_main else None


def _chosen(recipe: Recipe, place: Place, world: World) -> Run:
    """The run that the launching process chose, or else the leading one, and tells the others."""
    if RUN in os.environ:
        return Run.open(Path(os.environ[RUN]))
    if int(os.environ.get(RESTARTED, "0")):
        place = Place(place.folder, resume=True, fresh=False)
    path = choose_run(recipe, place, world.size).path if world.is_main else None
    told = world.broadcast(path)
    if world.is_main:
        note(f"run: {told}")
    assert told is not None
    return Run.open(told)
