"""Trainings on one process and on several, one after another; run as a script.

    python lab.py OUT CASES     a JSON list of cases; each rank leaves OUT/CASE-RANK.pt

One import serves them all: processes are forked. They meet over loopback, as under torchrun.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from addkit.distributed.signals import StopSignals
from addkit.distributed.world import World, joined
from addkit.errors import RunError, Stopped
from addkit.evaluation.batches import scores_of
from addkit.model import build_data
from addkit.recipe import read_recipe
from addkit.runs import Run
from addkit.runs.checkpoint import Progress, load_tensors
from addkit.runs.checkpoint_files import checkpoint_of
from addkit.training.callbacks import Metrics, meters_of
from addkit.training.trainer import Callback, StepReport, Trainer

RECIPES = Path(__file__).parents[2] / "recipes"


class Enough(Exception):  # noqa: N818
    """The step at which a case ends."""


class Recorder(Callback):
    """Keeps every loss, and ends a training early."""

    def __init__(self, until: int) -> None:
        self.until = until
        self.seen: dict[str, list[Any]] = {"loss": [], "norm": [], "real": [], "pads": []}

    def step(self, trainer: Trainer, report: StepReport) -> None:
        self.seen["loss"].append(report.loss)
        self.seen["norm"].append(report.gradient_norm)
        self.seen["real"].append(report.real_loss)
        self.seen["pads"].append(report.pad_loss)
        if report.step == self.until:
            raise Enough


def train(world: World, out: Path, case: dict[str, Any]) -> dict[str, Any]:
    """To `until`, from where the run stands; then a checkpoint and, if asked for, scores."""
    trainer = _opened(world, out, case)
    recorder = Recorder(case["until"])
    begin = trainer.progress.step
    try:
        trainer.fit([recorder])
    except Enough:
        trainer.save(wait=True)
    scores = {}
    if case["split"]:
        scores = {n: scores_of(meter) for n, meter in meters_of(trainer, case["split"]).items()}
    trainer.close()
    world.barrier()
    return {**recorder.seen, "begin": begin, "scores": scores, "state": _stored(trainer.run)}


def stop_early(world: World, out: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Until patience ends the training; then the best weights, and their scores on validation."""
    trainer = _opened(world, out, case)
    trainer.fit([Metrics()])
    taken, best = trainer.progress.step, trainer.load_best()
    scores = {name: scores_of(meter) for name, meter in meters_of(trainer, "validation").items()}
    trainer.close()
    world.barrier()
    lines = [line for line in trainer.run.metrics() if "split" in line]
    return {"steps": taken, "best": best, "scores": scores, "lines": lines}


def _opened(world: World, out: Path, case: dict[str, Any]) -> Trainer:
    recipe = read_recipe(RECIPES / f"{case['recipe']}.toml", case["changes"])
    path = out / case["run"]
    if world.is_main and not path.exists():
        Run.create(path, recipe, build_data(recipe).facts)
    world.barrier()
    return Trainer.open(Run(path), recipe, "cpu", world)


def _stored(run: Run) -> dict[str, torch.Tensor]:
    checkpoint = checkpoint_of(run.checkpoints)
    assert checkpoint is not None
    return {
        f"{file.stem}: {name}": tensor.clone()
        for file in sorted(checkpoint.glob("*.safetensors"))
        for name, tensor in load_tensors(file).items()
    }


def talk(world: World, out: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Every message there is."""
    own = torch.tensor([1.0, 10.0]) * (world.rank + 1)
    return {
        "world": (world.rank, world.size, world.local_rank, world.local_size, world.is_main),
        "sum": world.sum(own.clone()),
        "told": world.broadcast({"from": world.rank}),
        "gathered": world.all_gather(f"rank {world.rank}"),
        "stacked": world.all_gather_tensor(own),
    }


def leave(world: World, out: Path, case: dict[str, Any]) -> dict[str, Any]:
    """The last process ends without a word, and the first one waits for it."""
    if world.rank:
        os._exit(0)
    world.barrier()
    return {}


def interrupt(world: World, out: Path, case: dict[str, Any]) -> dict[str, Any]:
    """One process hears a signal in the middle of an evaluation; the others hear nothing."""
    recipe = read_recipe(RECIPES / f"{case['recipe']}.toml", case["changes"])
    path = out / case["run"]
    if world.is_main:
        Run.create(path, recipe, build_data(recipe).facts)
    world.barrier()
    with StopSignals() as stop, stop.deferred(deadline=False):
        trainer = Trainer.open(Run(path), recipe, "cpu", world, stop)
        trainer.progress = Progress(7)
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        try:
            meters_of(trainer, "test")
            told = {"code": 0, "text": ""}
        except Stopped as error:
            told = {"code": error.exit_code, "text": str(error)}
        trainer.close()
    world.barrier()
    saved = checkpoint_of(Run(path).checkpoints)
    return {**told, "saved": saved and saved.name}


WORK: dict[str, Callable[[World, Path, dict[str, Any]], dict[str, Any]]] = {
    "train": train,
    "stop-early": stop_early,
    "talk": talk,
    "leave": leave,
    "interrupt": interrupt,
}


def process(rank: int, case: dict[str, Any], port: int, out: str) -> None:
    """One of a case's processes."""
    torch.set_num_threads(1)
    size = case["processes"]
    if size > 1:
        os.environ |= {
            **{name: str(rank) for name in ("RANK", "LOCAL_RANK")},
            **{name: str(size) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")},
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(port),
        }
    try:
        with joined("cpu") as world:
            told = WORK[case["work"]](world, Path(out), case)
    except RunError as error:
        told = {"error": str(error)}
    torch.save(told, Path(out) / f"{case['name']}-{rank}.pt")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port: int = taken.getsockname()[1]
        return port


def main(out: str, cases: str) -> None:
    for slow in ("torch._dynamo", "torchmetrics", "addkit.tasks.captioning"):
        import_module(slow)  # Once, and not in each process. So with what is read here.
    build_data(read_recipe(RECIPES / "emoji.toml")).split("train")
    for case in json.loads(Path(cases).read_text()):
        words = (case, free_port(), out)
        multiprocessing.start_processes(
            process, words, nprocs=case["processes"], start_method="fork"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
