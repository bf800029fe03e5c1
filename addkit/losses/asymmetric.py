"""The asymmetric loss of multi-label classification."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


class Asymmetric:
    r"""Ridnik et al. 2021 (ASL, equation 7), with p the probability of the tag.

    .. math:: l = -(1-p)^{\gamma_+} \log p \text{ if present, else }
        -p_m^{\gamma_-} \log(1 - p_m), \quad p_m = \max(p - m, 0)

    gamma+ = gamma- = m = 0 is the binary cross-entropy. Its p is no calibrated probability.

    Args:
        positive_focus: gamma+.
        negative_focus: gamma-.
        margin: m.
    """

    predicts: Literal["label", "noise"] = "label"

    def __init__(self, positive_focus: float, negative_focus: float, margin: float) -> None:
        self.positive_focus, self.negative_focus = positive_focus, negative_focus
        self.margin = margin

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """Logits (B, R, N, 2) of absent and present, labels (B, R, N) -> (B, R, N)."""
        absent, present = outputs.float().log_softmax(-1).unbind(-1)  # log(1 - p) and log p
        p = present.exp()
        shifted = (p - self.margin).clamp_min(0)
        # log(1 - p) itself without a margin, where 1 - p may round to 0.
        log_rest = torch.log1p(-shifted) if self.margin else absent
        # At 0 the gradient of a power below 1 is infinite.
        positive = (1 - p).clamp_min(1e-8) ** self.positive_focus * present
        negative = shifted.clamp_min(1e-8) ** self.negative_focus * log_rest
        return -torch.where(labels > 0, positive, negative)

    def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
        """The outputs are logits."""
        return outputs  # (B, R, N, 2)
