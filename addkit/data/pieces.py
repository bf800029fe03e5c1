r"""Pieces of clothing: Fashion-MNIST images averaged to 7 x 7 pixels, put together to one picture.

A piece's pixels p in [0, 1] and the noise make the picture's grey level

.. math:: g = \tfrac12 + \frac{z}{8\sqrt{1 + \sigma^2}}, \quad
    z = \frac{p - \mu}{s} + \sigma\,\epsilon, \quad \epsilon \sim \mathcal N(0, 1)

clipped to [0, 1] (beyond four deviations) and rounded to 8 bits, so that it can be saved as a
picture and read again. mu and s are the mean and the deviation of Fashion-MNIST's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from addkit.errors import DataError
from addkit.plugin.protocols import ImageSet

SIDE, WHITE = 7, 255
_POOLED = 4
_LEAST = 2.0**-54
"""Below every positive uniform: a uniform of 0 becomes this, since its normal must be finite."""
_AT_A_TIME = 4096


@dataclass(frozen=True, slots=True)
class Pieces:
    """Small images of clothes, sorted by class."""

    values: Tensor
    """(n, 49), mean about 0 and deviation about 1."""
    counts: Tensor
    """Images of each class."""

    @classmethod
    def of(cls, clothes: ImageSet, classes: Sequence[str]) -> Pieces:
        """The pieces of a split. Raises `DataError` if a class has no image."""
        labels = clothes.labels[:, 0]
        counts = labels.bincount(minlength=len(classes))
        for name, count in zip(classes, counts.tolist(), strict=True):
            if not count:
                raise DataError(f"Fashion-MNIST: outfits need images of each class; no {name} here")
        # In parts, since the images at full size need ten times the memory.
        parts = range(0, len(clothes), _AT_A_TIME)
        batches = (range(start, min(start + _AT_A_TIME, len(clothes))) for start in parts)
        values = torch.cat(
            [avg_pool2d(clothes.batch(b, None).images, _POOLED).flatten(1) for b in batches]
        )  # (n, 49)
        return cls(values[labels.argsort(stable=True)], counts)

    def pictures(self, labels: Tensor, draws: Tensor, noise: Tensor) -> Tensor:
        """Pictures of pieces of these classes in reading order on a square grid, grey where it has
        more places: labels (B, N) -> uint8 (B, 1, 7 G, 7 G) with G = ceil(sqrt(N)).

        Args:
            labels: (B, N) classes.
            draws: uniforms (B, 50 N): N of them pick an image of each class, the others are noise.
            noise: sigma, (B,); infinite leaves nothing of the pieces.
        """
        batch, num_tokens = labels.shape
        numbers = (draws[:, :num_tokens] * self.counts[labels]).long()  # (B, N), within a class
        starts = self.counts.cumsum(0) - self.counts  # (classes,)
        clean = self.values[starts[labels] + numbers].double()  # (B, N, 49)
        normals = torch.special.ndtri(draws[:, num_tokens:].clamp_min(_LEAST)).view_as(clean)
        deviation = noise.double().view(-1, 1, 1)
        signal = (1 + deviation.square()).rsqrt()
        noisy = signal * clean + (1 - signal.square()).sqrt() * normals
        levels = (WHITE * (0.5 + noisy / 8)).round().clamp(0, WHITE).byte()
        side = math.isqrt(num_tokens - 1) + 1  # G
        grid = torch.full((batch, side**2, SIDE**2), round(WHITE / 2), dtype=torch.uint8)
        grid[:, :num_tokens] = levels
        rows = grid.view(-1, side, side, SIDE, SIDE).transpose(2, 3)  # (B, G, 7, G, 7)
        return rows.reshape(-1, 1, side * SIDE, side * SIDE)
