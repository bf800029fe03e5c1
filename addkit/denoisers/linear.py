"""The linear denoiser: for one label, all that noisy labels add is known, and added exactly."""

from __future__ import annotations

from torch import Tensor, nn

from addkit.denoisers.settings import LinearConfig
from addkit.plugin.values import Layout


class LinearDenoiser(nn.Module):
    """f(c) = c, so that log p(k | c, y_t) = w_k c + b_k + c_t y_t[k] + const.

    For one label p(y_t | k) does not depend on the image, and by Bayes the noisy label adds exactly
    c_t y_t to log p(k | c). What is left to learn is a multinomial regression on the condition,
    which overfits less than an MLP where images are few.

    Args:
        config: has nothing to set.
        condition_width: V; the condition has one token.
    """

    uses_state = False
    self_condition = 0.0

    def __init__(self, config: LinearConfig, condition_width: int) -> None:
        super().__init__()
        self.width, self.bayes_skip = condition_width, config.bayes_skip

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, V) -> (B, 1, 1, V), ready to broadcast over copies and tokens."""
        return (condition.unsqueeze(1),)

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        """Features (B, 1, 1, V), the same for all copies: h and t enter by the Bayes skip alone."""
        return prepared[0]
