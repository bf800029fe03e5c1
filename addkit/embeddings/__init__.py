"""Label embeddings: from a noisy label, given (`read`) or fresh (`draw`), to h."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, EmbeddingSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.embeddings.settings import TokenConfig


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
        build="addkit.embeddings.linear:build_linear",
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
