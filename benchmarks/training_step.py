"""`training-step`: a step of ADD (reuse 4) over a step of its linear control, batch 64.

ImageNet's recipe with ViT-S/16 at 224 and images from memory, through addkit's own loop: forward,
backward, clipping, AdamW and the average of the weights; reading data is not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import torch
from measure import RECIPES, Options, Row, Target, note, ratios
from PIL import Image
from torch import Tensor

from addkit.model import build_data, build_network, build_task, problem_of
from addkit.plugin.facts import Batch
from addkit.recipe import Recipe, read_recipe
from addkit.runs import Run
from addkit.runs.checkpoint import Progress
from addkit.training.control import control_recipe
from addkit.training.job import Job
from addkit.training.loop import StepReport, fit
from addkit.training.optimizer import averaged, build_optimizer
from addkit.training.plan import Plan


class MemoryBatch:
    """An `ImageSet` of one batch of noise."""

    def __init__(self, size: int, pixels: int, num_classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(size, 3, pixels, pixels, generator=generator)
        self.labels: Tensor = torch.randint(num_classes, (size, 1), generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def source(self, index: int) -> str:
        """No file."""
        return f"image {index}"

    def picture(self, index: int) -> Image.Image:
        """A black image."""
        return Image.new("RGB", (self.images.shape[-1], self.images.shape[-2]))

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """The batch of images, without augmentation."""
        chosen = torch.tensor(indices)
        return Batch(self.images[chosen], self.labels[chosen], tuple(indices))


class UnsavedJob(Job):
    """A training that writes no files."""

    def save(self) -> None:
        """Nothing."""


@dataclass(slots=True)
class Stopwatch:
    """A watcher that keeps the time of the last step."""

    seconds: float = 0.0

    def step(self, report: StepReport) -> None:
        """Note it."""
        self.seconds = report.seconds

    def epoch(self, job: Job, epoch: int) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Timesteps:
    """Durations of one step in seconds."""

    wall: float
    cpu: float
    """Processor time of all threads; with one thread the steadier measure on a busy machine."""


def rows(options: Options) -> Iterator[Row]:
    """Step of ADD / step of its control."""
    for name in RECIPES:
        note(f"  {name}")
        recipe = read_recipe(RECIPES[name], _overrides(options.quick))
        facts = build_data(recipe).facts
        add, control = _job(recipe), _job(control_recipe(recipe, "linear", facts))
        pairs = _pairs(add, control, 2 if options.quick else 5)
        what = f"{name}, reuse {recipe.training.reuse}: ADD / linear control"
        walls = [(first.wall, second.wall) for first, second in pairs]
        busy = [(first.cpu, second.cpu) for first, second in pairs]
        yield Row(name="training-step", compares=what, values=ratios(walls), target=Target(1.10))
        yield Row(name="training-step", compares=f"{what}, processor time", values=ratios(busy))


def _overrides(quick: bool) -> list[str]:
    """One step is one epoch, in float32 on one process."""
    model, size, batch = ("tiny", 32, 4) if quick else ("small", 224, 64)
    return [
        f"encoder.model=vit_{model}_patch16_224",
        f"data.image_size={size}",
        f"training.batch_size={batch}",
        "training.reuse=4",
        "training.epochs=1",
        "training.warmup_epochs=0",
        "training.precision=float32",
        "distributed.processes=1",
        f"distributed.per_process_batch={batch}",
        "distributed.workers=0",
    ]


def _job(recipe: Recipe) -> Job:
    source = build_data(recipe)
    facts, training = source.facts, recipe.training
    images = MemoryBatch(training.batch_size, facts.image_size, facts.num_classes)
    network = build_network(recipe, facts)
    return UnsavedJob(
        run=Run(Path(tempfile.gettempdir())),
        recipe=recipe,
        plan=Plan.of(recipe, len(images)),
        source=source,
        images=images,
        task=build_task(recipe, problem_of(recipe, facts)),
        network=network,
        optimizer=build_optimizer(network, training),
        average=averaged(network, training.ema),
    )


def _pairs(add: Job, control: Job, pairs: int) -> list[tuple[Timesteps, Timesteps]]:
    """Alternating steps; the first of each makes the optimizer's state and does not count."""
    _step(add), _step(control)
    return [(_step(add), _step(control)) for _ in range(pairs)]


def _step(job: Job) -> Timesteps:
    job.progress = Progress()
    watch = Stopwatch()
    start = process_time()
    fit(job, watch)
    return Timesteps(watch.seconds, process_time() - start)
