"""Blocks of a network, and the layout of its weights; loads nothing of FSDP2, which takes them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from addkit.model import Network

EARLY = "keys_values"
"""Method of a denoiser's blocks that `prepare` calls before the blocks themselves."""


def lay_out(network: nn.Module) -> None:
    """Make parameters contiguous, in place: FSDP2 supports no channels_last."""
    # Copied even where they are contiguous: with one channel both layouts are, and convolutions
    # choose their kernel by the strides.
    for parameter in network.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)


def blocks_of(network: Network) -> Iterator[nn.Module]:
    """Modules that are gathered one at a time: blocks of a timm ViT and of the denoiser."""
    yield from getattr(getattr(network.encoder, "model", network.encoder), "blocks", ())
    # A denoiser with self-conditioning runs once or twice, by a coin of each process's micro-batch,
    # and processes must agree on what they gather.
    if network.diffusion.self_conditioning is None:
        yield from getattr(network.diffusion.denoiser, "blocks", ())
