"""The Cholesky factor of a Gram matrix, kept while its weight does not change."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

JITTER = 1e-6
"""Share of the mean diagonal added to it: the Gram matrix may be rank-deficient."""


def cholesky(gram: Tensor) -> Tensor:
    """L with L L^T = gram (D, D), computed in fp64, returned in fp32; differentiable."""
    gram = gram.double()
    jitter = JITTER * gram.diagonal().mean().clamp_min(1e-12)
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor: Tensor = torch.linalg.cholesky(gram + jitter * eye)
    return factor.float()


class FactorCache:
    """Remembers what a function made of a weight until the weight changes.

    With gradients on nothing is kept: each step needs its own graph, and a fused optimizer, which
    changes a weight without telling its version, steps only after gradients.
    """

    def __init__(self, compute: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self.compute = compute
        self.key: tuple[int, int, torch.device] | None = None
        self.value: tuple[Tensor, ...] = ()

    def __call__(self, weight: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled() and weight.requires_grad:
            self.key, self.value = None, ()
            return self.compute(weight)
        if weight.is_inference():  # Such a tensor has no version to tell changes by.
            return self.compute(weight)
        key = (weight.data_ptr(), weight._version, weight.device)
        if key != self.key:
            self.key, self.value = key, self.compute(weight.detach())
        return self.value
