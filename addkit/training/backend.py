"""How a network is computed: device, layout, compilation, determinism, versions, time of a step."""

from __future__ import annotations

import os
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any, cast

import torch
from torch import nn

from addkit.errors import AddkitWarning
from addkit.model import Network
from addkit.plugin import load_registry
from addkit.plugin.registry import identity_of
from addkit.recipe import Recipe
from addkit.runs.folder import Environment


class Stopwatch:
    """Splits the time of a step into named laps, one behind the other.

    On a GPU a lap is what passes on its stream between two events, so that measuring waits for
    nothing: work that was only launched counts in the lap that launched it, and `data` is how
    long the stream ran dry. Elsewhere it is wall time. `device` is the network's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._gpu = device.type == "cuda"
        self._laps: list[tuple[str, Any, Any]] = []
        """Name, start and end of laps that `seconds` has not returned yet."""
        self._start: Any = None

    def start(self) -> None:
        """Begin the first lap here; time since the last lap counts nowhere."""
        self._start = self._event() if self._gpu else perf_counter()

    def lap(self, name: str) -> None:
        """End a lap: the time since the one before. Laps of one name add up."""
        now = self._event() if self._gpu else perf_counter()
        self._laps.append((name, self._start, now))
        self._start = now

    def seconds(self) -> dict[str, float]:
        """Seconds of each name since the last call, which are then forgotten.

        On a GPU, call it behind the step's own synchronisation. A lap that is still running there,
        such as the optimizer's update, is returned by the next call, with the next step.
        """
        total: dict[str, float] = {}
        running = []
        for name, start, end in self._laps:
            if not self._gpu:
                total[name] = total.get(name, 0.0) + end - start
            elif end.query():
                total[name] = total.get(name, 0.0) + start.elapsed_time(end) / 1000
            else:
                running.append((name, start, end))
        self._laps = running
        return total

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that tensors took on the GPU since the process began; None elsewhere."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device)


WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS is deterministic only with a workspace of its own; read when it is first used."""
PACKAGES = ("addkit", "torch", "torchvision", "timm", "safetensors", "numpy", "pillow")


def pick_device() -> str:
    """`cuda` if there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def prepared(network: Network, recipe: Recipe) -> Network:
    """The network, made to compute as the recipe's [distributed] table asks."""
    spread = recipe.distributed
    if spread.recompute_activations:
        network.recompute_activations()
    if spread.channels_last:
        # Convolutions alone gain; a denoiser has none.
        network.encoder.to(memory_format=torch.channels_last)
    if spread.deterministic:
        # The user's own setting counts more.
        os.environ.setdefault(WORKSPACE, ":4096:8")
        # Benchmarking picks the fastest algorithm, another one on another day.
        torch.backends.cudnn.benchmark = False
    # Set in both cases: it is global, and may be left over from a training before.
    torch.use_deterministic_algorithms(spread.deterministic)
    return network


def compile_parts(network: Network) -> None:
    """Compile encoder and denoiser, each at its first call.

    Only once copies have been taken: a copy would call the original. What cannot be compiled runs
    as it is, with a warning.
    """
    for part in (network.encoder, network.diffusion.denoiser):
        _compile(cast("nn.Module", part))


def _compile(part: nn.Module) -> None:
    eager = part.forward
    compiled = torch.compile(eager)

    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except Exception as error:
            # What fails without the compiler, too, is not its fault: that error leaves from here.
            result = eager(*args, **kwargs)
            part.forward = eager
            reason = str(error).strip().splitlines() or [""]
            warnings.warn(
                f"{type(part).__name__} could not be compiled and runs without "
                f"({type(error).__name__}: {reason[0]}); distributed.compile = false avoids the "
                "attempt",
                AddkitWarning,
                stacklevel=2,
            )
            return result

    part.forward = forward


def environment(recipe: Recipe, device: str) -> Environment:
    """Versions, hardware and the package of each component, for a run's manifest."""
    registry = load_registry()
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return Environment(
        python=platform.python_version(),
        packages=packages,
        platform=platform.platform(),
        device=torch.cuda.get_device_name() if device.startswith("cuda") else device,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        components={
            kind: f"{choice.name} ({identity_of(registry.get(kind, choice.name))})"
            for kind, choice in recipe.choices.items()
        },
    )
