"""Label embeddings: from a noisy label, given (`read`) or fresh (`draw`), to h."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from addkit.plugin.spec import Choices, EmbeddingSpec, components

if TYPE_CHECKING:
    from addkit.embeddings.settings import TokenConfig


def _needs_clean_or_noise(config: TokenConfig, choices: Choices) -> Iterable[str]:
    process = choices["process"]
    if "clean-or-noise" not in process.spec.provides:
        yield (
            f'it cannot read the noise of [process] "{process.name}", which does not provide '
            '"clean-or-noise"; use "posterior" or "linear"'
        )


addkit_components = components(
    EmbeddingSpec(
        "linear", ".settings:LinearConfig", ".linear:build_linear", "W y_t, the paper's."
    ),
    EmbeddingSpec(
        "posterior",
        ".settings:PosteriorConfig",
        ".posterior:PosteriorEmbedding",
        "softmax(c_t y_t) E: loses nothing at any K.",
        provides=frozenset({"reads-likelihood"}),
    ),
    EmbeddingSpec(
        "token",
        ".settings:TokenConfig",
        ".token:TokenEmbedding",
        "E[y] or a mask, for masked diffusion and autoregression.",
        check=_needs_clean_or_noise,
    ),
)
