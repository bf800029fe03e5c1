"""The matched classifier: a head that ignores the noisy label and the time."""

from __future__ import annotations

from torch import Tensor, nn

from addkit.denoisers.settings import ControlConfig
from addkit.plugin.values import Layout


class Control(nn.Module):
    """f(c): no layer before the output layer (linear), or residual MLP blocks (mlp).

    Args:
        config: the head and its size.
        condition_width: V; the condition has one token.
    """

    uses_state = False
    self_condition = 0.0
    bayes_skip = False

    def __init__(self, config: ControlConfig, condition_width: int) -> None:
        super().__init__()
        self.width = condition_width if config.head == "linear" else config.width
        self.head: nn.Module = nn.Identity()
        if config.head == "mlp":
            blocks = [ResidualBlock(config) for _ in range(config.depth)]
            self.head = nn.Sequential(
                nn.Linear(condition_width, config.width), *blocks, nn.LayerNorm(config.width)
            )

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, V) -> features (B, 1, 1, D): the whole head depends on the condition alone."""
        # In `prepare`, so that steps and copies share the one pass.
        return (self.head(condition).unsqueeze(1),)  # (B, 1, 1, D)

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        """Ignores h and t; features (B, 1, 1, D)."""
        return prepared[0]


class ResidualBlock(nn.Module):
    """x + MLP(norm(x))."""

    def __init__(self, config: ControlConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden or 4 * config.width
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        out: Tensor = x + self.mlp(x)  # (..., D)
        return out
