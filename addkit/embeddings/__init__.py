"""Label embeddings: how the network reads a noisy label, held (`read`) or fresh (`draw`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.errors import AddkitWarning
from addkit.plugin.spec import Choices, EmbeddingSpec, Problem, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.embeddings.settings import LinearConfig, TokenConfig
    from addkit.plugin.protocols import Embedding


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
        name="linear",
        config="addkit.embeddings.settings:LinearConfig",
        build=_linear,
        summary="W y_t, the paper's.",
    )
    yield EmbeddingSpec(
        name="posterior",
        config="addkit.embeddings.settings:PosteriorConfig",
        build="addkit.embeddings.posterior:PosteriorEmbedding",
        summary="softmax(c_t y_t) E: loses nothing at any K.",
    )
    yield EmbeddingSpec(
        name="token",
        config="addkit.embeddings.settings:TokenConfig",
        build="addkit.embeddings.token:TokenEmbedding",
        check=_needs_clean_or_noise,
        summary="E[y] or a mask, for masked diffusion and autoregression.",
    )
