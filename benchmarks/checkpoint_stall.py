"""`checkpoint-stall`: time that the training loop waits for a checkpoint.

ImageNet's network (ViT-B/16 and the denoiser, 111 M parameters) on the CPU: raw and averaged
weights and AdamW's two moments, 1.8 GB in float32. An asynchronous save returns once they are
copied; a synchronous one once they are written, have their checksums and have reached the disk.
The first asynchronous save also gets the memory of the copy, and does not count. Files lie below
the folder for temporary files: TMPDIR names another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from measure import RECIPES, Options, Row, Target, ratios
from torch import Tensor

from addkit.model import Network, build_data, build_network
from addkit.recipe import read_recipe
from addkit.runs.checkpoint import CheckpointWriter, Progress
from addkit.runs.checkpoint_files import Keep

Groups = dict[str, dict[str, Tensor]]

TINY = ["encoder.model=vit_tiny_patch16_224"]
BATCH = 8
"""Images of the training step that it is compared with."""


def rows(options: Options) -> Iterator[Row]:
    """Stall / synchronous save; stall / training step."""
    recipe = read_recipe(RECIPES["paper"], TINY if options.quick else [])
    facts = build_data(recipe).facts
    network = build_network(recipe, facts)
    groups = _groups(network)
    size = sum(value.nbytes for group in groups.values() for value in group.values())
    with tempfile.TemporaryDirectory() as folder:
        first, pairs = _saves(Path(folder), groups, 2 if options.quick else 7)
    stalls = [stall for stall, _ in pairs]
    yield Row(
        name="checkpoint-stall",
        compares=f"{size / 1e9:.3g} GB: stall of an asynchronous save / synchronous save",
        values=ratios(pairs),
        target=Target(0.10),
        note=f"stall {median(stalls):.3g} s, the first time {first:.3g} s; "
        f"synchronous {median(whole for _, whole in pairs):.3g} s",
    )
    step = _step(network, torch.randn(BATCH, 3, facts.image_size, facts.image_size))
    step()
    steps = [_seconds(step) for _ in range(2 if options.quick else 5)]
    yield Row(
        name="checkpoint-stall",
        compares=f"stall / forward and backward of the encoder alone, batch {BATCH}",
        values=[stall / median(steps) for stall in stalls],
        target=Target(1.0),
        note=f"forward and backward {median(steps):.3g} s",
    )


def _groups(network: Network) -> Groups:
    """Tensors as in a training; copies, since memory never written to is read faster."""
    weights = network.state_dict()
    moments = {
        f"{name}|{moment}": value.clone()
        for moment in ("exp_avg", "exp_avg_sq")
        for name, value in weights.items()
    }
    averaged = {name: value.clone() for name, value in weights.items()}
    return {"raw": weights, "ema": averaged, "optimizer": moments}


def _saves(folder: Path, groups: Groups, count: int) -> tuple[float, list[tuple[float, float]]]:
    """Seconds of the first stall, then of (stall, synchronous save), in turn."""
    pairs = []
    together = CheckpointWriter(folder / "together", Keep(last=1))
    alone = CheckpointWriter(folder / "alone", Keep(last=1), asynchronous=False)
    first = _seconds(lambda: together.save(Progress(0), groups))
    for number in range(1, count + 1):
        together.wait()
        stall = _seconds(lambda step=number: together.save(Progress(step), groups))
        together.wait()
        whole = _seconds(lambda step=number: alone.save(Progress(step), groups))
        pairs.append((stall, whole))
    return first, pairs


def _step(network: Network, images: Tensor) -> Callable[[], None]:
    """Forward and backward of the encoder; a whole step would only make the ratio smaller."""

    def step() -> None:
        network.zero_grad(set_to_none=True)
        network.tokens(images).square().mean().backward()

    return step


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start
