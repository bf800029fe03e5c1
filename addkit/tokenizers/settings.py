"""Settings of the built-in tokenizers: what their tables in a recipe may say."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from addkit.plugin.config import Config


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
