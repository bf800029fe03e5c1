"""Counted randomness: every random number follows from (seed, purpose, position), never from a
stream's state, so a result does not depend on worker count or on resuming.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from addkit.plugin.values import Clean


def counted_seed(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for this purpose at this position, such as (epoch, step, micro-batch)."""
    words = ":".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big") >> 1


def counted_generator(
    seed: int, purpose: str, *position: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator at the start of the stream that `counted_seed` names."""
    return torch.Generator(device=device).manual_seed(counted_seed(seed, purpose, *position))


def draw_labels(logits: Tensor, generator: torch.Generator) -> Clean:
    """One hard label from softmax(logits), (..., K) -> (...), by the Gumbel maximum."""
    # fp64: fp32 uniforms cut the Gumbel's upper tail, which silently lowers the temperature.
    uniform = torch.rand(
        logits.shape, generator=generator, device=logits.device, dtype=torch.float64
    )
    gumbel = -torch.log(-torch.log(uniform.clamp_min(torch.finfo(torch.float64).tiny)))
    return Clean((logits.double() + gumbel).argmax(-1))
