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
    # A hash, so that neighbouring positions do not get neighbouring seeds.
    # Surrogates pass: names of files that are no UTF-8 contain some.
    words = ":".join([str(seed), purpose, *map(str, position)]).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1


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
    # The smallest normal number in place of 0, whose logarithm is infinite.
    gumbel = -torch.log(-torch.log(uniform.clamp_min(torch.finfo(torch.float64).tiny)))
    return Clean((logits.double() + gumbel).argmax(-1))


# SplitMix64 (Steele, Lea and Flood 2014): the increment and the finalizer's two factors, as the
# int64 of the same bits: torch has no arithmetic on uint64, and int64 wraps in the same way.
_STRIDE = 0x9E3779B97F4A7C15 - 2**64
_FACTORS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def uniforms(seed: int, indices: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), float64, (len(indices), count).

    Row i depends on (seed, indices[i]) alone, and its first numbers do not depend on `count`.
    Any integer is a seed (modulo 2 ** 64); `indices` is one-dimensional.
    """
    # Row and column are mixed one after the other: a sum of both would repeat along diagonals.
    signed = (seed + 2**63) % 2**64 - 2**63  # the int64 of the seed's lowest 64 bits
    start = _mixed(torch.tensor(signed, device=indices.device))
    rows = _mixed(start + (indices.to(torch.int64) + 1) * _STRIDE)
    columns = torch.arange(1, count + 1, device=indices.device) * _STRIDE
    words = _mixed(rows[:, None] + columns)  # (indices, count)
    # The upper 53 bits, as many as a double has.
    return ((words >> 11) & (2**53 - 1)).double() * 2.0**-53


def _mixed(words: Tensor) -> Tensor:
    # torch shifts int64 with its sign; the masks make it the logical shift of uint64.
    words = (words ^ ((words >> 30) & (2**34 - 1))) * _FACTORS[0]
    words = (words ^ ((words >> 27) & (2**37 - 1))) * _FACTORS[1]
    return words ^ ((words >> 31) & (2**33 - 1))
