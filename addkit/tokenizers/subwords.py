"""What subword tokenizers share: their vocabulary is fixed before a caption is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from addkit.errors import RunError
from addkit.plugin.protocols import Vocabulary


class Subwords:
    """A tokenizer with one vocabulary, whatever the captions."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def learn(self, captions: Iterable[str]) -> Vocabulary:
        """The vocabulary; the captions are not looked at."""
        return self._vocabulary

    def restore(self, tokens: Sequence[str]) -> Vocabulary:
        """The vocabulary. Raises `RunError` if its tokens are not these."""
        own = self._vocabulary.tokens
        if tuple(tokens) == own:
            return self._vocabulary
        if len(tokens) != len(own):
            difference = f"it has {len(own)} tokens, the run's had {len(tokens)}"
        else:
            place = next(i for i, (a, b) in enumerate(zip(own, tokens, strict=True)) if a != b)
            difference = f"its token {place} is {own[place]!r}, the run's was {tokens[place]!r}"
        raise RunError(
            f"The tokenizer is not the one that the run was trained with: {difference}. "
            "Restore the tokenizer's file, or the package version that the run's manifest names."
        )
