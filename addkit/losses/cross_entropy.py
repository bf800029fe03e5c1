"""The timestep-conditioned cross-entropy."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional


class CrossEntropy:
    r"""l = -\sum_k q_k \log p(k | y_t, c), q the label with a share spread over all classes.

    Section 3.2 without the coefficient (table 1, last row).
    """

    predicts: Literal["label", "noise"] = "label"

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """(B, R, N, K), (B, R, N) -> (B, R, N)."""
        # (B R N, K) against (B R N,); autocast runs it in fp32.
        flat = functional.cross_entropy(
            outputs.flatten(0, 2),
            labels.flatten(),
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        return flat.view(labels.shape)

    def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
        """The outputs are logits."""
        return outputs  # (B, R, N, K)


class WeightedCrossEntropy(CrossEntropy):
    r"""L_CE = -E_t \bar\alpha_t \sum_k y_0^{(k)} \log p(k | y_t, c) (section 3.2).

    Args:
        label_smoothing: see `CrossEntropy`.
        mean_weight: divides the weight; E_t[alpha_bar] over the schedule's own times and the rows
            at t = T (`training.pure_noise`) makes its mean 1. Tokens with times of their own
            (`training.token_times`) are not considered.
    """

    def __init__(self, label_smoothing: float, mean_weight: float) -> None:
        super().__init__(label_smoothing)
        self.mean_weight = mean_weight

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """(B, R, N, K), (B, R, N) -> (B, R, N)."""
        plain = super().__call__(outputs, labels, alpha_bar, noise)  # (B, R, N)
        # alpha_bar is 0 at t = T: those tokens are not trained.
        return plain * alpha_bar / self.mean_weight
