"""Settings of the built-in tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from addkit.plugin.config import Config, Count


class NoneConfig(Config):
    """Labels are classes of their own: no text is cut."""


class WordsConfig(Config):
    """Words as they are written, hyphens and apostrophes kept inside; no sentence punctuation."""

    min_count: Count = Field(
        1, description="Words that occur less often in the training captions are unknown."
    )
    max_size: Annotated[int, Field(ge=3, le=10**9)] | None = Field(
        None, description="K at most, <pad> and <unk> included: the most frequent words stay."
    )
    keep_case: bool = Field(False, description="Distinguish Apple from apple; else lower case.")


class OpenClipConfig(Config):
    """The 49,408 lower-case byte-pair subwords of CLIP, which come with open_clip."""


class TokenizersFileConfig(Config):
    """A tokenizer.json, as the library `tokenizers` writes it."""

    file: Path = Field(description="The json file.")
    pad: str = Field(
        description='Its token that ends and fills a caption, such as "<|endoftext|>".'
    )
