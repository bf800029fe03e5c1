"""Conditioners that pick from the encoder's tokens."""

from __future__ import annotations

from torch import Tensor, nn

from addkit.errors import RecipeError
from addkit.plugin.spec import Problem


class TokenConditioner(nn.Module):
    """Tokens (B, L, W) -> condition (B, C, V), projected where a width is given.

    Args:
        width: V; None keeps the encoder's W without a projection.
        problem: facts of the encoder.
    """

    def __init__(self, width: int | None, problem: Problem) -> None:
        super().__init__()
        self.width = width or problem.encoder_width
        # C; `AllTokens` replaces it.
        self.num_tokens = 1
        self.prefix = problem.num_prefix_tokens
        # Normalised first: the scale of an encoder's features is arbitrary.
        self.project: nn.Module = nn.Identity()
        if width is not None:
            self.project = nn.Sequential(
                nn.LayerNorm(problem.encoder_width), nn.Linear(problem.encoder_width, width)
            )

    def pick(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, C, W)."""
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, C, V)."""
        out: Tensor = self.project(self.pick(tokens))
        return out


class ClassToken(TokenConditioner):
    """c = z_cls, the encoder's class token."""

    def __init__(self, width: int | None, problem: Problem) -> None:
        super().__init__(width, problem)
        # The recipe's check reads the encoder's ability alone; some of timm's ViTs have no token.
        if problem.num_prefix_tokens == 0:
            raise RecipeError(
                'conditioner "class-token": this encoder\'s model has no class token; '
                'use "mean-token" or "all-tokens"'
            )

    def pick(self, tokens: Tensor) -> Tensor:
        """The first token."""
        return tokens[:, :1]  # (B, 1, W)


class MeanToken(TokenConditioner):
    """c = mean of the tokens after the prefix, which describe no patch."""

    def pick(self, tokens: Tensor) -> Tensor:
        """The mean patch token."""
        return tokens[:, self.prefix :].mean(1, keepdim=True)  # (B, 1, W)


class AllTokens(TokenConditioner):
    """c = every token, prefix included."""

    def __init__(self, width: int | None, problem: Problem) -> None:
        super().__init__(width, problem)
        # C = L, the prefix included.
        self.num_tokens = problem.num_encoder_tokens

    def pick(self, tokens: Tensor) -> Tensor:
        """All of them."""
        return tokens
