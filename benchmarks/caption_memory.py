"""`caption-memory`: peak memory of a training step, batch 64, reuse 4, N = 20, K = 10,112.

Forward and backward of the objective in a process of its own, encoder tokens handed over, so that
label diffusion alone counts: once as addkit trains (embedding draw, output layer and loss in
chunks) and once with K normals for every token and all logits at once. What counts is how far the
highest resident size rises above what it was once the network stood.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from caption_sampling import SIZES, TINY, Dense, Size, network
from measure import Options, Row, Target, note

from addkit.diffusion import ObjectiveSettings, Targets, objective, rows as chunks
from addkit.embeddings.posterior import PosteriorEmbedding

BATCH, REUSE = 64, 4
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of `ru_maxrss`."""
MIB = 2**20


def rows(options: Options) -> Iterator[Row]:
    """Both peaks, and fast / dense."""
    for size in (TINY,) if options.quick else SIZES:
        note(f"  {size.name}")
        pairs = [(_peak("dense", size, options), _peak("fast", size, options)) for _ in range(2)]
        for path, peaks in zip(("dense", "fast"), zip(*pairs, strict=True), strict=True):
            yield Row(name="caption-memory", compares=f"{size.name}: {path}, MiB", values=peaks)
        yield Row(
            name="caption-memory",
            compares=f"{size.name}: fast / dense",
            values=[fast / dense for dense, fast in pairs],
            target=Target(1 / 3),
        )


def _peak(path: str, size: Size, options: Options) -> float:
    """MiB that a step takes in a child process."""
    command = [sys.executable, __file__, path, "tiny" if options.quick else size.name]
    threads = str(torch.get_num_threads())
    done = subprocess.run([*command, threads], check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return float(done.stdout)


def _child(path: str, name: str, threads: str) -> None:
    """Measure in this process and print."""
    torch.set_num_threads(int(threads))
    size = TINY if name == "tiny" else next(size for size in SIZES if size.name == name)
    size = replace(size, batch=4 if name == "tiny" else BATCH)
    model = network(size).train()
    if path == "dense":
        model.embedding = Dense(cast("PosteriorEmbedding", model.embedding))
        chunks.LARGEST = sys.maxsize
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(size.batch, size.conditions, size.width, generator=generator)
    labels = torch.randint(size.classes, (size.batch, REUSE, size.tokens), generator=generator)
    before = _highest()
    value = objective(model, tokens, Targets(labels), ObjectiveSettings(), generator)
    value.loss.backward()  # type: ignore[no-untyped-call]
    print((_highest() - before) / MIB)


def _highest() -> int:
    """Bytes that were resident at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


if __name__ == "__main__":
    _child(*sys.argv[1:])
