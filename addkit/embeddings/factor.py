"""The Cholesky factor of a Gram matrix, cached while its weight does not change."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

JITTER = 1e-6
"""Share of the mean diagonal added to it: the Gram matrix may be rank-deficient."""


def cholesky(gram: Tensor) -> Tensor:
    """L with L L^T = gram (D, D), computed in fp64, returned in fp32; differentiable."""
    # fp64, since the Gram matrix squares the weight's condition number.
    gram = gram.double()
    jitter = JITTER * gram.diagonal().mean().clamp_min(1e-12)
    # Relative to the diagonal, so that the scale of the weight does not matter.
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor: Tensor = torch.linalg.cholesky(gram + jitter * eye)
    return factor.float()


class FactorCache:
    """Caches a function of a weight until the weight changes.

    With gradients on nothing is cached: each step needs its own graph, and a fused optimizer, which
    changes a weight without raising its version, steps only after gradients.
    """

    def __init__(self, compute: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self.compute = compute
        self.key: tuple[int, int, torch.device] | None = None
        self.value: tuple[Tensor, ...] = ()

    def __call__(self, weight: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled() and weight.requires_grad:
            self.key, self.value = None, ()
            return self.compute(weight)
        if weight.is_inference():  # such a tensor has no version, so changes cannot be seen
            return self.compute(weight)
        # The address too: a module that is moved or loaded anew has another tensor.
        key = (weight.data_ptr(), weight._version, weight.device)
        if key != self.key:
            self.key, self.value = key, self.compute(weight.detach())
        return self.value
