"""Subwords: those of a tokenizer.json, and CLIP's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from open_clip.tokenizer import SimpleTokenizer

from addkit.errors import RecipeError, RunError, guess, reading
from addkit.plugin.protocols import Vocabulary
from addkit.tokenizers.settings import TokenizersFileConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer


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
        # Ids are positions, so the same tokens in another order are another vocabulary.
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


class FileVocabulary:
    """The tokens of a tokenizer.json, in the order of their ids."""

    def __init__(self, tokenizer: Tokenizer, tokens: Sequence[str], pad: str) -> None:
        # The file's padding and truncation are meant for other programs.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.tokens = tuple(tokens)
        self.pad: int = self.tokens.index(pad)
        # Unigram models store an id, the others a token; byte-level ones have neither.
        model = json.loads(tokenizer.to_str())["model"]
        self.unknown: int | None = model.get("unk_id")
        if model.get("unk_token"):
            self.unknown = tokenizer.token_to_id(model["unk_token"])

    def encode(self, text: str) -> list[int]:
        """Ids of its subwords, without the special tokens that models add; no pad is among them."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        # A caption that spells the pad out would otherwise end there.
        return [number for number in ids if number != self.pad]

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first pad, by the file's own decoder, without special tokens."""
        end = ids.index(self.pad) if self.pad in ids else len(ids)
        text: str = self._tokenizer.decode(list(ids[:end]), skip_special_tokens=True)
        return text.strip()

    def plain(self, text: str) -> str:
        """The text as `decode` returns it, except that unknown parts stay as they were written."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        parts = []
        # Runs of ids that are all unknown or all known, since a decoder joins neighbours.
        for unknown, run in groupby(pairs, key=lambda pair: pair[0] == self.unknown):
            ids, spans = zip(*run, strict=True)
            parts += [text[slice(*span)] for span in spans] if unknown else [self.decode(ids)]
        return " ".join(parts)


class TokenizersFile(Subwords):
    """The tokenizer of a file."""

    def __init__(self, config: TokenizersFileConfig) -> None:
        """Raises `RecipeError` for a missing package, an unfit file or an unknown pad."""
        tokenizer = _read(config)
        # `get_vocab` is in no order.
        names = {number: token for token, number in tokenizer.get_vocab().items()}
        if sorted(names) != list(range(len(names))):
            raise RecipeError(
                f"tokenizer.file: {config.file} has {len(names)} tokens with ids up to "
                f"{max(names)}; every id from 0 on needs a token of its own. Use another tokenizer."
            )
        tokens = [names[number] for number in range(len(names))]
        if config.pad not in tokens:
            # Most tokenizers write special tokens in <...> or [...].
            special = [token for token in tokens if token[:1] in "<[" and token[-1:] in ">]"][:5]
            choices = f" Such are: {', '.join(special)}." if special else ""
            raise RecipeError(
                f'tokenizer.pad = "{config.pad}" is no token of {config.file}'
                f"{guess(config.pad, tokens)}. Name the token that ends a text.{choices}"
            )
        super().__init__(FileVocabulary(tokenizer, tokens, config.pad))


def _read(config: TokenizersFileConfig) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise RecipeError(
            'tokenizer.name = "tokenizers-file" needs the package tokenizers, which is not '
            "installed. Install it with: pip install tokenizers"
        ) from error
    path = config.file.expanduser()
    try:
        # With or without a byte order mark.
        text = path.read_text("utf-8-sig")
        with reading(path):
            return Tokenizer.from_str(text)
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except Exception as error:  # the library raises nothing narrower
        reason = f"is no tokenizer that the library tokenizers reads ({error})"
    raise RecipeError(
        f"tokenizer.file: {path} {reason}. Give a tokenizer.json of the library tokenizers."
    )


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
