"""Typed results: what flows between the loop, the read-outs, the tasks and the reports."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Answer", "ChainStep", "Clean", "NoisyLabels"]


@dataclass(frozen=True, slots=True)
class NoisyLabels:
    """Corrupted labels: y_t = b sqrt(alpha_bar) y_0 + sqrt(1 - alpha_bar) eps."""

    y_t: Tensor
    """(B, R, N, K)."""
    noise: Tensor
    """eps, same shape."""


@dataclass(frozen=True, slots=True)
class Clean:
    """The clean label that a step feeds back: hard (ids) or soft (a distribution)."""

    ids: Tensor
    """(B, R, N): the label, or the arg max of `soft`."""
    soft: Tensor | None = None
    """(B, R, N, K), rows sum to 1; None for one-hot."""

    def dense(self, num_classes: int) -> Tensor:
        """(B, R, N, K), rows sum to 1."""
        if self.soft is not None:
            return self.soft
        return functional.one_hot(self.ids, num_classes).to(torch.get_default_dtype())


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One denoising step of all chains. R chains for each of B images."""

    index: int
    """0 for the first step, at t = T."""
    t: float
    logits: Tensor
    """(B, R, N, K), guided; rows of images that left early keep their last value."""
    clean: Clean
    exited: Tensor
    """(B,) bool: images whose answer had settled before this step."""
    y_t: Tensor | None = None
    """The state that the step read, (B, R, N, K), where the chain holds it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a read-out makes of a chain."""

    probabilities: Tensor
    """(B, N, K), rows sum to 1."""
    votes: Tensor
    """(B, N, K): share of chains whose last prediction is k."""
    steps: Tensor
    """(B,) denoising steps that each image took."""

    @property
    def labels(self) -> Tensor:
        """(B, N) most probable classes."""
        return self.probabilities.argmax(-1)
