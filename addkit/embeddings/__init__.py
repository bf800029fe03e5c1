"""Label embeddings: how the network reads a noisy label, held (`read`) or fresh (`draw`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from addkit.errors import AddkitWarning
from addkit.plugin.spec import Choices, Config, EmbeddingSpec, Problem, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Embedding

__all__ = ["LinearConfig", "PosteriorConfig", "TokenConfig"]


class LinearConfig(Config):
    """h = W y_t, the paper's. Loses the label where the width is far below K."""


class PosteriorConfig(Config):
    """h = softmax(c_t y_t) E, the posterior-mean embedding under a uniform prior."""

    spread: float = Field(
        0.5, gt=0, description="Standard deviation of the rows of E at the start."
    )
    largest: int = Field(
        16,
        ge=1,
        description="Wrong classes that the fast draw treats exactly; the rest by moments. "
        "Up to largest ** 2 classes the draw is plain.",
    )


class TokenConfig(Config):
    """h = E[y] for a known token, a learned mask for a hidden one; no noise in between."""

    spread: float = Field(
        0.5, gt=0, description="Standard deviation of the rows of E at the start."
    )


def _linear(config: LinearConfig, problem: Problem) -> Embedding:
    from addkit.embeddings.linear import LinearEmbedding

    if problem.state_width < problem.num_classes / 2:
        warnings.warn(
            f"[embedding] linear: width {problem.state_width} is below half of the "
            f"{problem.num_classes} classes; W y_t then loses the label in its noise. "
            'The embedding "posterior" does not',
            AddkitWarning,
            stacklevel=2,
        )
    return LinearEmbedding(problem.num_classes, problem.state_width, problem.scale)


def _needs_clean_or_noise(config: TokenConfig, choices: Choices) -> Iterable[str]:
    process = choices["process"]
    if "clean-or-noise" not in process.spec.provides:
        yield (
            f'it cannot read the noise of [process] "{process.name}", which does not provide '
            '"clean-or-noise"; use "posterior" or "linear"'
        )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in embeddings."""
    yield EmbeddingSpec(
        name="linear", config=LinearConfig, build=_linear, summary="W y_t, the paper's."
    )
    yield EmbeddingSpec(
        name="posterior",
        config=PosteriorConfig,
        build="addkit.embeddings.posterior:PosteriorEmbedding",
        summary="softmax(c_t y_t) E: loses nothing at any K.",
    )
    yield EmbeddingSpec(
        name="token",
        config=TokenConfig,
        build="addkit.embeddings.token:TokenEmbedding",
        check=_needs_clean_or_noise,
        summary="E[y] or a mask, for masked diffusion and autoregression.",
    )
