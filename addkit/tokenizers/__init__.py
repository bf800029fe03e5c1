"""Tokenizers: how captions are cut into the tokens that are diffused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, Problem, Spec, TokenizerSpec, hookimpl

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


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in tokenizers."""
    yield TokenizerSpec(
        name="none",
        config="addkit.tokenizers.settings:NoneConfig",
        build=_none,
        provides=frozenset({"no-text"}),
        summary="Labels are no text.",
    )
    yield TokenizerSpec(
        name="words",
        config="addkit.tokenizers.settings:WordsConfig",
        build="addkit.tokenizers.words:Words",
        check=_has_captions,
        summary="Words of the training captions.",
    )
    yield TokenizerSpec(
        name="open-clip",
        config="addkit.tokenizers.settings:OpenClipConfig",
        build="addkit.tokenizers.open_clip:OpenClip",
        check=_has_captions,
        summary="CLIP's 49,408 subwords.",
    )
    yield TokenizerSpec(
        name="tokenizers-file",
        config="addkit.tokenizers.settings:TokenizersFileConfig",
        build="addkit.tokenizers.tokenizers_file:TokenizersFile",
        check=_has_captions,
        summary="Subwords from a tokenizer.json.",
    )
