"""The base class of subword tokenizers, whose vocabulary does not depend on the captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from addkit.errors import RunError
from addkit.plugin.protocols import Vocabulary


class Subwords:
    """A tokenizer with one vocabulary, whatever the captions."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def learn(self, captions: Iterable[str]) -> Vocabulary:
        """The vocabulary; the captions are ignored."""
        return self._vocabulary

    def restore(self, tokens: Sequence[str]) -> Vocabulary:
        """The vocabulary. Raises `RunError` if its tokens are not these."""
        own = self._vocabulary.tokens
        if tuple(tokens) == own:
            return self._vocabulary
        if len(tokens) != len(own):
            difference = f"it has {len(own)} tokens, the run's had {len(tokens)}"
        else:
            first = next(i for i, (a, b) in enumerate(zip(own, tokens, strict=True)) if a != b)
            difference = f"its token {first} is {own[first]!r}, the run's was {tokens[first]!r}"
        raise RunError(
            f"The tokenizer is not the one that the run was trained with: {difference}. "
            "Restore the tokenizer's file, or the package version that the run's manifest names."
        )
