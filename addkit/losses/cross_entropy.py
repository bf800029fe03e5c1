"""Cross-entropies: plain, timestep-conditioned, and with weights of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def weights_of_classes(
    counts: Sequence[int], weights: Literal["none", "balanced"] | float
) -> tuple[float, ...]:
    r"""A weight for each class whose mean over the training images is 1.

    .. math:: w_k = \frac{n_k^{-\gamma} \sum_j n_j}{\sum_j n_j^{1 - \gamma}}

    gamma = 1 gives each class the same total weight, so that a network learns
    p(image | k) / sum_j p(image | j): the posterior under a prior that is even over classes. In
    general its prior is proportional to n_k^(1 - gamma).

    Args:
        counts: n_k, images of each class; a class without images has weight 0.
        weights: gamma in [0, 1]; `none` is 0 and `balanced` is 1.

    Returns:
        (K,) weights; empty where all are 1, as without counts.
    """
    gamma = {"none": 0.0, "balanced": 1.0}.get(str(weights), weights)
    assert not isinstance(gamma, str)
    if not gamma or not counts:
        return ()
    total = sum(n ** (1 - gamma) for n in counts if n)
    return tuple(sum(counts) * n**-gamma / total if n else 0.0 for n in counts)


class CrossEntropy:
    r"""l = -w_{y_0} \sum_k q_k \log p(k | y_t, c), q the label with a share over all classes.

    Section 3.2 without the coefficient (table 1, last row).

    Args:
        label_smoothing: the share that q spreads over all classes.
        class_weights: `none`, `balanced` or gamma, see `weights_of_classes`.
        class_counts: training images of each class; empty gives every class the weight 1.
    """

    predicts: Literal["label", "noise"] = "label"

    def __init__(
        self,
        label_smoothing: float,
        class_weights: Literal["none", "balanced"] | float = "none",
        class_counts: Sequence[int] = (),
    ) -> None:
        self.label_smoothing = label_smoothing
        self.weights = weights_of_classes(class_counts, class_weights)

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
        losses = flat.view(labels.shape)
        if not self.weights:
            return losses
        return losses * torch.tensor(self.weights, device=losses.device)[labels]

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
        class_weights, class_counts: see `CrossEntropy`.
    """

    def __init__(
        self,
        label_smoothing: float,
        mean_weight: float,
        class_weights: Literal["none", "balanced"] | float = "none",
        class_counts: Sequence[int] = (),
    ) -> None:
        super().__init__(label_smoothing, class_weights, class_counts)
        self.mean_weight = mean_weight

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """(B, R, N, K), (B, R, N) -> (B, R, N)."""
        plain = super().__call__(outputs, labels, alpha_bar, noise)  # (B, R, N)
        # alpha_bar is 0 at t = T: those tokens are not trained.
        return plain * alpha_bar / self.mean_weight
