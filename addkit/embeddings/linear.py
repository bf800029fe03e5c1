"""The paper's embedding, W y_t, with a draw that never needs K numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from addkit.diffusion.noise import corrupt
from addkit.embeddings.settings import LinearConfig
from addkit.errors import AddkitWarning
from addkit.plugin.spec import Problem

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
        # The address too: a module that is moved or loaded again has another tensor.
        key = (weight.data_ptr(), weight._version, weight.device)
        if key != self.key:
            self.key, self.value = key, self.compute(weight.detach())
        return self.value


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
        weight = nn.init.normal_(torch.empty(num_classes, state_width), std=num_classes**-0.5)
        self.weight = nn.Parameter(weight)
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
