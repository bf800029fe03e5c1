"""The global gradient: its norm, and what it is divided by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


def norm_of(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The global norm of all gradients, a scalar, whole where each process holds a share."""
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    whole = getattr(norm, "full_tensor", None)
    return norm if whole is None else whole()


def rescale(parameters: Sequence[nn.Parameter], norm: Tensor, factor: float, top: float) -> None:
    """Multiply all gradients by `factor`, then clip their global norm at `top`; 0 clips nothing.

    Args:
        parameters: those that may have gradients.
        norm: of the gradients as they are.
        factor: 1 leaves them as they are.
        top: largest norm.
    """
    if factor != 1.0:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], factor)
    if top:
        clip_grads_with_norm_(parameters, top, norm * factor)
