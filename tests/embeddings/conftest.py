"""Both embeddings, new and as training leaves them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding


@pytest.fixture(scope="session")
def make() -> Callable[..., nn.Module]:
    """An embedding; `unequal` scales its rows log-normally and moves their centre."""

    def build(kind: str, num_classes: int, width: int, scale: float = 1.0, *, unequal=False):
        with torch.random.fork_rng():
            torch.manual_seed(num_classes)
            if kind == "linear":
                embedding = LinearEmbedding(num_classes, width, scale)
            else:
                embedding = PosteriorEmbedding(num_classes, width, scale, spread=0.5, largest=16)
            if unequal:
                weight = embedding.weight.data
                weight *= torch.randn(num_classes, 1).exp()
                weight += 0.3 * weight.std() * torch.randn(width)
        return embedding

    return build
