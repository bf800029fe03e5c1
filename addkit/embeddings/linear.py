"""The paper's embedding, W y_t, with a draw that never needs K numbers."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from addkit.diffusion.noise import corrupt
from addkit.embeddings.factor import FactorCache, cholesky
from addkit.embeddings.settings import LinearConfig
from addkit.errors import AddkitWarning
from addkit.plugin.spec import Problem


def build_linear(config: LinearConfig, problem: Problem) -> LinearEmbedding:
    """The embedding of a recipe; warns where its width cannot carry the label."""
    if problem.state_width < problem.num_classes / 2:
        warnings.warn(
            f"[embedding] linear: width {problem.state_width} is below half of the "
            f"{problem.num_classes} classes; W y_t then loses the label in its noise. "
            'The embedding "posterior" does not',
            AddkitWarning,
            stacklevel=2,
        )
    return LinearEmbedding(problem.num_classes, problem.state_width, problem.scale)


class LinearEmbedding(nn.Module):
    r"""h = W y_t.

    .. math::
        W y_t = b\sqrt{\bar\alpha_t}\,W_{:,y_0} + \sqrt{1-\bar\alpha_t}\,W\epsilon,
        \qquad W\epsilon \sim \mathcal N(0, W W^\top)

    so `draw` needs D normals through the Cholesky factor of W W^T instead of K. The gradient
    flows through the factor: without it W would not feel its own noise, which is biased.

    Args:
        num_classes: K.
        state_width: D.
        scale: b of the schedule.
    """

    def __init__(self, num_classes: int, state_width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(num_classes, state_width) * num_classes**-0.5)
        self.factor = FactorCache(lambda weight: (cholesky(weight.T @ weight),))

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """(B, R, N, K) -> (B, R, N, D). W y_t does not depend on alpha_bar."""
        return y_t @ self.weight

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        """Freshly corrupted labels (B, R, N) -> h, (B, R, N, D). With K <= D, K normals do."""
        num_classes, width = self.weight.shape
        # The Gram matrix would then be singular, and K normals are the fewer.
        if num_classes <= width:
            noisy = corrupt(labels, alpha_bar, num_classes, generator, self.scale)
            return self.read(noisy.y_t, alpha_bar)
        shape = (*labels.shape, width)  # (B, R, N, D)
        noise = torch.randn(shape, generator=generator, device=labels.device)
        noise = noise @ self.factor(self.weight)[0].T  # W eps, by its D x D covariance
        signal = alpha_bar.float().unsqueeze(-1)  # (B, R, N, 1) or less
        return self.scale * signal.sqrt() * self.weight[labels] + (1 - signal).sqrt() * noise
