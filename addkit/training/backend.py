"""How a network is computed: layouts, compilation, determinism. None of it changes what it is."""

from __future__ import annotations

import os
import warnings
from typing import Any, cast

import torch
from torch import nn

from addkit.errors import AddkitWarning
from addkit.model import Network
from addkit.recipe import Recipe

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS is deterministic only with a workspace of its own; read when it is first used."""


def prepared(network: Network, recipe: Recipe) -> Network:
    """The network, made to compute as the recipe's [distributed] table says."""
    spread = recipe.distributed
    if spread.recompute_activations:
        network.recompute_activations()
    if spread.channels_last:
        network.encoder.to(memory_format=torch.channels_last)
    if spread.deterministic:
        os.environ.setdefault(WORKSPACE, ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(spread.deterministic)
    return network


def compile_parts(network: Network) -> None:
    """Let encoder and denoiser be compiled, each with its first call.

    Only once copies have been taken: a copy would call the original. What cannot be compiled runs
    as it is, and says so.
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
            result = eager(*args, **kwargs)
            # What fails either way is no fault of the compiler.
            part.forward = eager
            reason = str(error).strip().splitlines() or [""]
            warnings.warn(
                f"{type(part).__name__} could not be compiled and runs without "
                f"({type(error).__name__}: {reason[0]}); set distributed.compile = false to say so",
                AddkitWarning,
                stacklevel=2,
            )
            return result

    part.forward = forward
