"""`caption-memory`: peak memory of a training step, batch 64, reuse 4, N = 20, K = 10,112.

Forward and backward of the objective in a process of its own, encoder tokens handed over, so that
label diffusion alone counts: as addkit trains (embedding draw, output layer and loss in chunks);
with the activations of the trunk's blocks computed again; with K normals for every token and all
logits at once; and so again with the condition repeated for every reuse copy instead of shared.
What counts is how many bytes of tensors were alive at most beyond weights and data, as torch's
profiler sees them come and go: the same in every run. The resident size says less, since malloc
keeps freed memory, and a process inherits the highest size of the one that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import cast

import torch
from caption_sampling import SIZES, TINY, Dense, Size, network
from measure import Options, Row, Target, note
from torch.profiler import ProfilerActivity, profile

from addkit.denoisers.transformer import TransformerDenoiser
from addkit.diffusion import ObjectiveSettings, Targets, objective
from addkit.embeddings.posterior import PosteriorEmbedding

BATCH, REUSE = 64, 4
MIB = 2**20
# Not by `import`: the package's `objective` is the function of the same name.
CHUNKS = import_module("addkit.diffusion.objective")
QUIET = {"KINETO_LOG_LEVEL": "99"}
"""Silences the profiler's warning about a missing GPU."""


def rows(options: Options) -> Iterator[Row]:
    """Fast / dense, sharing the condition in both or in the fast path alone."""
    for size in (TINY,) if options.quick else SIZES:
        note(f"  {size.name}")
        paths = ("dense", "repeated", "fast", "recomputed")
        dense, repeated, fast, recomputed = (_peak(path, size) for path in paths)
        name = f"{size.name}, reuse {REUSE}: fast"
        yield Row(
            name="caption-memory",
            compares=f"{name} / dense",
            values=[fast / dense],
            target=Target(1 / 3),
            note=f"{fast:,.0f} MiB, dense {dense:,.0f} MiB",
        )
        yield Row(
            name="caption-memory",
            compares=f"{name}, distributed.recompute_activations / dense",
            values=[recomputed / dense],
            target=Target(1 / 3),
            note=f"{recomputed:,.0f} MiB",
        )
        yield Row(
            name="caption-memory",
            compares=f"{name} / dense, condition repeated for every copy",
            values=[fast / repeated],
            note=f"dense and repeated {repeated:,.0f} MiB",
        )


def _peak(path: str, size: Size) -> float:
    """Peak MiB of a step, measured in a child process."""
    command = [sys.executable, __file__, path, size.name, str(torch.get_num_threads())]
    environment = os.environ | QUIET
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=environment
    )
    return float(done.stdout)


def _child(path: str, name: str, threads: str) -> None:
    """Measure in this process and print."""
    torch.set_num_threads(int(threads))
    size = next(size for size in (*SIZES, TINY) if size.name == name)
    images, copies = (size.batch if size is TINY else BATCH), REUSE
    if path == "repeated":
        images, copies = images * copies, 1
    model = network(size).train()
    if path == "recomputed":
        cast("TransformerDenoiser", model.denoiser).recompute_activations()
    elif path != "fast":
        model.embedding = Dense(cast("PosteriorEmbedding", model.embedding))
        CHUNKS.LARGEST = sys.maxsize  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(images, size.conditions, size.width, generator=generator)
    labels = torch.randint(size.classes, (images, copies, size.tokens), generator=generator)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        value = objective(model, tokens, Targets(labels), ObjectiveSettings(), generator)
        value.loss.backward()  # type: ignore[no-untyped-call]
    print(_highest(profiler) / MIB)


def _highest(profiler: profile) -> int:
    """Peak of live bytes, from allocations and frees in order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    memory = [event for event in events if event["name"] == "[memory]"]
    memory.sort(key=lambda event: event["ts"])
    sizes: Iterator[int] = (event["args"]["Bytes"] for event in memory)
    return max(accumulate(sizes))


if __name__ == "__main__":
    _child(*sys.argv[1:])
