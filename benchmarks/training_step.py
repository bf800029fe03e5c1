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

from addkit.model import build_data
from addkit.plugin.values import Batch, DataFacts
from addkit.recipe import Recipe, read_recipe
from addkit.runs import Run
from addkit.runs.checkpoint import Progress
from addkit.training.control import control_recipe
from addkit.training.trainer import Callback, StepReport, Trainer


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


@dataclass(frozen=True)
class MemorySource:
    """A `DataSource` whose every split is one batch."""

    facts: DataFacts
    size: int

    def split(self, name: str) -> MemoryBatch:
        """The same images for any name."""
        return MemoryBatch(self.size, self.facts.image_size, self.facts.num_classes)


class UnsavedTrainer(Trainer):
    """A training that writes no files."""

    def save(self, *, wait: bool = False) -> None:
        """Nothing."""


class Stopwatch(Callback):
    """Keeps the time of the last step."""

    seconds = 0.0

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """Note it."""
        self.seconds = report.seconds


@dataclass(frozen=True, slots=True)
class StepTime:
    """Of one step, in seconds."""

    wall: float
    cpu: float
    """Of all threads; on a busy machine the steadier one, if torch has one thread."""


def rows(options: Options) -> Iterator[Row]:
    """Step of ADD / step of its control."""
    for name in RECIPES:
        note(f"  {name}")
        recipe = read_recipe(RECIPES[name], _overrides(options.quick))
        facts = build_data(recipe).facts
        add, control = _trainer(recipe), _trainer(control_recipe(recipe, "linear", facts))
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
        f"distributed.per_process_batch={batch}",
        "distributed.workers=0",
    ]


def _trainer(recipe: Recipe) -> Trainer:
    source = MemorySource(build_data(recipe).facts, recipe.training.batch_size)
    return UnsavedTrainer(Run(Path(tempfile.gettempdir())), recipe, "cpu", source=source)


def _pairs(add: Trainer, control: Trainer, pairs: int) -> list[tuple[StepTime, StepTime]]:
    """Alternating steps; the first of each makes the optimizer's state and does not count."""
    _step(add), _step(control)
    return [(_step(add), _step(control)) for _ in range(pairs)]


def _step(trainer: Trainer) -> StepTime:
    trainer.progress = Progress()
    watch = Stopwatch()
    start = process_time()
    trainer.fit([watch])
    return StepTime(watch.seconds, process_time() - start)
