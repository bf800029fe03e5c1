"""Conditioners that pick from the encoder's tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from addkit.errors import RecipeError
from addkit.plugin.spec import Problem


class TokenConditioner(nn.Module):
    """The base of them: tokens (B, L, W) -> condition (B, C, V), projected where a width is given.

    Subclasses pick in `pool`; by default they keep every token.

    Args:
        width: V; None keeps the encoder's W without a projection.
        problem: facts of the encoder.
        norm: L2 norm of each token before the projection; None keeps the encoder's.
    """

    def __init__(self, width: int | None, problem: Problem, norm: float | None = None) -> None:
        super().__init__()
        self.norm = norm
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

    def pool(self, tokens: Tensor) -> Tensor:
        """The part of the tokens that is read, (B, L, W) -> (B, C, W); see `Conditioner`."""
        return tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, W), or their `pool`, -> (B, C, V)."""
        pooled = self.pool(tokens)  # (B, C, W)
        if self.norm is not None:
            pooled = self.norm * functional.normalize(pooled, dim=-1)
        out: Tensor = self.project(pooled)
        return out


class ClassTokens(TokenConditioner):
    """c = the P learned tokens before the image's: class tokens and registers (figure 2b)."""

    name = "class-tokens"

    def __init__(self, width: int | None, problem: Problem, norm: float | None = None) -> None:
        super().__init__(width, problem, norm)
        self.num_tokens = self.prefix
        # The recipe's check reads the encoder's ability alone; some of timm's ViTs have no token.
        if self.prefix == 0:
            raise RecipeError(
                f'conditioner "{self.name}": this encoder\'s model has no class token; '
                'use "mean-token" or "all-tokens"'
            )

    def pool(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, C, W), the first C."""
        return tokens[:, : self.num_tokens]


class ClassToken(ClassTokens):
    """c = z_cls, the encoder's class token, the first of them."""

    name = "class-token"

    def __init__(self, width: int | None, problem: Problem, norm: float | None = None) -> None:
        super().__init__(width, problem, norm)
        self.num_tokens = 1


class MeanToken(TokenConditioner):
    """c = mean of the tokens after the prefix, which describe no patch."""

    def pool(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, 1, W), the mean; a single token is one already."""
        # An encoder's tokens are a prefix and at least one more.
        return tokens if tokens.shape[1] == 1 else tokens[:, self.prefix :].mean(1, keepdim=True)


class AllTokens(TokenConditioner):
    """c = every token, prefix included."""

    def __init__(self, width: int | None, problem: Problem, norm: float | None = None) -> None:
        super().__init__(width, problem, norm)
        # C = L, the prefix included.
        self.num_tokens = problem.num_encoder_tokens
