"""Regressive losses: of the clean label, and of the noise."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

SMALLEST = 1e-6
"""Floor of an estimated probability, so that its logarithm exists."""


class CleanMse:
    """l = ||f - onehot(y_0)||^2, summed over K: the fair control of the cross-entropy."""

    predicts: Literal["label", "noise"] = "label"

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """(B, R, N, K), (B, R, N) -> (B, R, N)."""
        target = functional.one_hot(labels, outputs.shape[-1]).to(outputs)  # (B, R, N, K)
        return (outputs - target).square().sum(-1)

    def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
        """Log of the estimate, which is E[y_0 | y_t, c] where it is right: clipped at 0."""
        # (B, R, N, K). A regression may leave [0, 1]; below 0 a logarithm does not exist.
        return outputs.clamp_min(SMALLEST).log()


class NoiseMse(CleanMse):
    """l = ||f - eps||^2 / K, the regressive loss of table 2 and figure 4.

    Fails where K exceeds the network's width: noise has K free directions, the network D.
    `scale` is b of the schedule.
    """

    predicts: Literal["label", "noise"] = "noise"

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """(B, R, N, K) against noise of the same shape -> (B, R, N)."""
        if noise is None:
            raise ValueError("a loss that predicts the noise needs the noise of y_t")
        # A mean over K, so that its scale does not depend on K: every entry has noise.
        return (outputs - noise).square().mean(-1)

    def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
        """Log of the label that the noise implies, (y_t - sqrt(1 - a) eps) / (b sqrt(a)).

        a = alpha_bar is kept above 1e-6: at t = T y_t has no label to find.
        """
        if y_t is None:
            raise ValueError("a predicted noise gives a label only with y_t")
        signal = alpha_bar.clamp_min(SMALLEST).unsqueeze(-1)  # (B, R, N, 1)
        # The forward process solved for y_0, (B, R, N, K).
        label = (y_t - (1 - signal).sqrt() * outputs) / (self.scale * signal.sqrt())
        return super().logits(label, y_t, alpha_bar)
