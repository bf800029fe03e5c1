"""Tokenizers: how captions are cut into the tokens that are diffused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, Problem, TokenizerSpec, components

if TYPE_CHECKING:
    from addkit.tokenizers.settings import NoneConfig


# No tokenizer: data sets without captions get None.
def _none(config: NoneConfig, problem: Problem) -> None:
    return None


def _has_captions(config: Any, choices: Choices) -> Iterable[str]:
    # By ability: a plugin's data set may have captions too.
    data = choices["data"]
    if "captions" not in data.spec.provides:
        yield f'[data] "{data.name}" has no captions to cut; leave [tokenizer] out'


addkit_components = components(
    TokenizerSpec(
        "none",
        ".settings:NoneConfig",
        _none,
        "Labels are no text.",
        provides=frozenset({"no-text"}),
    ),
    TokenizerSpec(
        "words",
        ".settings:WordsConfig",
        ".words:Words",
        "Words of the training captions.",
        check=_has_captions,
    ),
    TokenizerSpec(
        "open-clip",
        ".settings:OpenClipConfig",
        ".subwords:OpenClip",
        "CLIP's 49,408 subwords.",
        check=_has_captions,
    ),
    TokenizerSpec(
        "tokenizers-file",
        ".settings:TokenizersFileConfig",
        ".subwords:TokenizersFile",
        "Subwords from a tokenizer.json.",
        check=_has_captions,
    ),
)
