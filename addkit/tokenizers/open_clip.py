"""CLIP's subwords."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip.tokenizer import SimpleTokenizer

from addkit.tokenizers.tokenizers_file import Subwords


class ClipVocabulary:
    """open_clip's byte-pair encoding: lower case, 49,408 tokens, read from its package.

    `<end_of_text>` is the pad. Every text has tokens, so none is unknown.
    """

    unknown: int | None = None

    def __init__(self) -> None:
        self._tokenizer = SimpleTokenizer()
        self.tokens = tuple(self._tokenizer.encoder)
        self.pad: int = self._tokenizer.eot_token_id
        # A caption may contain their spelling; they are no words of it.
        self._specials = frozenset(self._tokenizer.all_special_ids)

    def encode(self, text: str) -> list[int]:
        """Ids of its subwords; special tokens spelt out in the text are left out."""
        return [i for i in self._tokenizer.encode(text) if i not in self._specials]

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first pad, with spaces where words end."""
        # What follows the first pad is no part of the caption, whatever a model predicts there.
        end = ids.index(self.pad) if self.pad in ids else len(ids)
        words: str = self._tokenizer.decode([i for i in ids[:end] if i not in self._specials])
        return words.strip()

    def plain(self, text: str) -> str:
        """The text as `decode` returns it."""
        return self.decode(self.encode(text))


class OpenClip(Subwords):
    """CLIP's tokenizer."""

    def __init__(self) -> None:
        super().__init__(ClipVocabulary())
