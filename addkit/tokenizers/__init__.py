"""Tokenizers: how captions are cut into the tokens that are diffused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from addkit.plugin.spec import Choices, Config, Problem, Spec, TokenizerSpec, hookimpl

__all__ = ["NoneConfig", "OpenClipConfig", "TokenizersFileConfig", "WordsConfig"]


class NoneConfig(Config):
    """Labels are classes of their own: no text is cut."""


class WordsConfig(Config):
    """Words as they are written, hyphens and apostrophes kept inside; no sentence punctuation."""

    min_count: int = Field(
        1, ge=1, description="A word needs as many places in the training captions, or is unknown."
    )
    max_size: int | None = Field(
        None,
        ge=3,
        description="K at most, <pad> and <unk> included: the most frequent words stay.",
    )
    keep_case: bool = Field(False, description="Tell Apple from apple; else all is lower case.")


class OpenClipConfig(Config):
    """The 49,408 lower-case byte-pair subwords of CLIP, which come with open_clip."""


class TokenizersFileConfig(Config):
    """A tokenizer.json, as the library `tokenizers` writes it."""

    file: Path = Field(description="The json file.")
    pad: str = Field(
        description='Its token that ends and fills a caption, such as "<|endoftext|>".'
    )


def _none(config: NoneConfig, problem: Problem) -> None:
    return None


def _has_captions(config: Config, choices: Choices) -> Iterable[str]:
    data = choices["data"]
    if "captions" not in data.spec.provides:
        yield f'[data] "{data.name}" has no captions to cut; leave [tokenizer] out'


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in tokenizers."""
    yield TokenizerSpec(
        name="none",
        config=NoneConfig,
        build=_none,
        provides=frozenset({"no-text"}),
        summary="Labels are no text.",
    )
    yield TokenizerSpec(
        name="words",
        config=WordsConfig,
        build="addkit.tokenizers.words:Words",
        check=_has_captions,
        summary="Words of the training captions.",
    )
    yield TokenizerSpec(
        name="open-clip",
        config=OpenClipConfig,
        build="addkit.tokenizers.open_clip:OpenClip",
        check=_has_captions,
        summary="CLIP's 49,408 subwords.",
    )
    yield TokenizerSpec(
        name="tokenizers-file",
        config=TokenizersFileConfig,
        build="addkit.tokenizers.tokenizers_file:TokenizersFile",
        check=_has_captions,
        summary="Subwords from a tokenizer.json.",
    )
