"""Captions as token ids: several right answers for an image, the vocabulary, the facts."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from addkit.data.folders import shortened
from addkit.data.image_sets import FileImages, WrappedImages
from addkit.data.settings import CaptionConfig, DataWarning
from addkit.data.source import facts_of, hold_out
from addkit.errors import DataError
from addkit.plugin.protocols import ImageSet, Tokenizer, Vocabulary
from addkit.plugin.values import Batch, DataFacts

Answers = Sequence[Sequence[Sequence[int]]]
"""Token ids by image and caption."""

_OUTLIER = 4
"""A caption is an outlier if it is longer than so many times the 95th percentile."""
_SHORT = 20
"""Tokens of a caption that is never an outlier."""


@dataclass(frozen=True, slots=True)
class Captions:
    """Images and their captions, at least one each."""

    names: tuple[str, ...]
    """A unique name of each image, such as its file."""
    texts: tuple[tuple[str, ...], ...]
    """The captions of each image."""
    locations: tuple[tuple[str, ...], ...] = ()
    """Of each caption, such as `captions.csv:12`, for messages; empty where there are no lines."""

    def location(self, image: int, caption: int) -> str:
        """Of one caption; the image's name where there are no lines."""
        return self.locations[image][caption] if self.locations else self.names[image]

    def __len__(self) -> int:
        return len(self.names)

    def at(self, positions: Iterable[int]) -> Captions:
        """These images, in this order."""
        chosen = tuple(positions)
        return Captions(
            tuple(self.names[position] for position in chosen),
            tuple(self.texts[position] for position in chosen),
            tuple(self.locations[position] for position in chosen) if self.locations else (),
        )

    def below(self, folder: Path) -> Captions:
        """Their names as paths of files in this folder."""
        return replace(self, names=tuple(str(folder / name) for name in self.names))

    def split(self, share: float, seed: int, purpose: str) -> tuple[Captions, Captions]:
        """The rest, and the share of the images that is held out."""
        # One class for all: captions have no classes to stratify by.
        kept, held = hold_out([0] * len(self), self.names, share, seed, purpose)
        return self.at(kept), self.at(held)


@dataclass(frozen=True, slots=True)
class References:
    """The right answers of n images, at least one each."""

    ids: Tensor
    """(answers in all, N) token ids, filled with pads."""
    starts: tuple[int, ...]
    """Row of each image's first answer, and the number of rows: n + 1 numbers."""

    @classmethod
    def of(cls, answers: Answers, num_tokens: int, pad: int) -> References:
        """From token ids by image and answer; longer answers are cut to `num_tokens`."""
        # A cut caption has no pad: the network is not taught an end that is none.
        rows = [[*ids[:num_tokens]] for image in answers for ids in image]
        filled = [row + [pad] * (num_tokens - len(row)) for row in rows]
        # reshape gives an empty split its second dimension.
        ids = torch.tensor(filled, dtype=torch.int64).reshape(-1, num_tokens)
        return cls(ids, tuple(accumulate(map(len, answers), initial=0)))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of_image(self, index: int) -> Tensor:
        """(C, N)."""
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def first(self) -> Tensor:
        """The first answer of each image, (n, N)."""
        return self.ids[list(self.starts[:-1])]

    def at(self, positions: Sequence[int]) -> References:
        """The answers of these images, in this order."""
        rows = [self.of_image(position) for position in positions]
        # cat refuses an empty list.
        ids = torch.cat(rows) if rows else self.ids[:0]
        return References(ids, tuple(accumulate(map(len, rows), initial=0)))

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, C, N), each image's answers first and then its first one again, and counts (B,)."""
        rows = [self.of_image(index) for index in indices]  # each (C_i, N)
        counts = torch.tensor([len(row) for row in rows])
        most = int(counts.max())
        # A repeated answer rather than pads: every row is a right answer.
        filled = [torch.cat([row, row[:1].expand(most - len(row), -1)]) for row in rows]
        return torch.stack(filled), counts


def pick_answers(batch: Batch, reuse: int, generator: torch.Generator) -> Tensor:
    """The labels (B, R, N) of each image's copies, one of its right answers each.

    Copy j takes answer floor(((u + j / R) mod 1) C) of C, so that copies differ where they can.
    """
    if batch.references is None or batch.reference_counts is None:
        return batch.labels[:, None, :].expand(-1, reuse, -1)
    references, counts = batch.references, batch.reference_counts  # (B, C, N), (B,)
    # One u for an image, its copies at even distances: a stratified draw of the answers.
    u = torch.rand((len(counts), 1), generator=generator, device=generator.device)
    copy = torch.arange(reuse, device=u.device) / reuse
    chosen = (((u + copy) % 1.0).to(counts.device) * counts.unsqueeze(1)).long()  # (B, R)
    # A product just below C may round to C.
    chosen = torch.minimum(chosen, counts.unsqueeze(1) - 1)
    return references.gather(1, chosen.unsqueeze(-1).expand(-1, -1, references.shape[-1]))


class ReferencedImages(WrappedImages):
    """An `ImageSet` whose images have several right answers.

    Args:
        images: n images.
        references: their answers.
        texts: the same as they were written.
        plain: from a text to its decoded form, uncut; see `Vocabulary.plain`.
    """

    def __init__(
        self,
        images: ImageSet,
        references: References,
        texts: Sequence[Sequence[str]],
        plain: Callable[[str], str],
    ) -> None:
        super().__init__(images)
        self.labels = references.first()
        self.references = references
        self._texts = texts
        self._plain = plain

    def __len__(self) -> int:
        return len(self.references)

    def over(self, images: ImageSet) -> ReferencedImages:
        """The same answers for another `ImageSet` of these images, such as their features."""
        return ReferencedImages(images, self.references, self._texts, self._plain)

    def texts(self, index: int) -> tuple[str, ...]:
        """An image's answers as they would be decoded if nothing were cut or unknown."""
        return tuple(map(self._plain, self._texts[index]))

    def completed(self, batch: Batch) -> Batch:
        """With all answers of the images."""
        references, counts = self.references.batch(batch.indices)
        return replace(
            batch,
            labels=self.labels[torch.tensor(batch.indices)],
            references=references,
            reference_counts=counts,
            texts=tuple(map(self.texts, batch.indices)),
        )


class CaptionedImages(ReferencedImages):
    """Images in files or shards, with `captions` as they were written."""

    def __init__(
        self, images: FileImages, references: References, captions: Captions, vocabulary: Vocabulary
    ) -> None:
        super().__init__(images, references, captions.texts, vocabulary.plain)
        self.captions = captions
        self.shards = images.shards
        """See `FileImages.shards`."""


@dataclass(frozen=True, slots=True)
class CaptionTokens:
    """The captions of all splits as token ids."""

    vocabulary: Vocabulary
    num_tokens: int
    """N. Longer captions are cut, shorter ones filled with pads."""
    references: Mapping[str, References]
    notes: Mapping[str, int]
    """By split: captions, captions cut, words (tokens before the cut) and unknown words."""

    @classmethod
    def of(
        cls, splits: Mapping[str, Captions], tokenizer: Tokenizer, max_tokens: int | None
    ) -> CaptionTokens:
        """The vocabulary and, by default, N follow from the split `train` alone.

        N is then one more than the longest training caption has tokens, so that each ends in a pad.
        Raises `DataError` for captions without a token, and where all training tokens are unknown;
        warns where most are, or where few captions are far longer than the others.
        """
        vocabulary = tokenizer.learn(text for texts in splits["train"].texts for text in texts)
        ids = {
            name: [[vocabulary.encode(text) for text in texts] for texts in captions.texts]
            for name, captions in splits.items()
        }
        _refuse_wordless(splits, ids)
        # N from train alone, so that test data do not change the network.
        num_tokens = max_tokens or _longest(splits["train"], ids["train"]) + 1
        notes: dict[str, int] = {}
        for name, images in ids.items():
            answers = [answer for image in images for answer in image]
            unknown = vocabulary.unknown
            notes |= {
                f"{name}_captions": len(answers),
                f"{name}_captions_cut": sum(len(answer) > num_tokens for answer in answers),
                f"{name}_words": sum(map(len, answers)),
                f"{name}_unknown_words": sum(
                    answer.count(unknown) for answer in answers if unknown is not None
                ),
            }
            if 2 * notes[f"{name}_unknown_words"] > notes[f"{name}_words"]:
                _refuse_unknown(name, splits[name], images, vocabulary)
        references = {
            name: References.of(images, num_tokens, vocabulary.pad) for name, images in ids.items()
        }
        return cls(vocabulary, num_tokens, references, notes)


def _refuse_wordless(splits: Mapping[str, Captions], ids: Mapping[str, Answers]) -> None:
    # They are right whenever nothing is predicted, like empty ones.
    wordless = [
        f"{captions.location(i, j)}: {reprlib.repr(captions.texts[i][j])}"
        for name, captions in splits.items()
        for i, image in enumerate(ids[name])
        for j, answer in enumerate(image)
        if not answer
    ]
    if wordless:
        raise DataError(
            f"{len(wordless)} captions in which the tokenizer finds no word:\n  "
            f"{shortened(wordless)}\nWrite or remove these captions, or take another [tokenizer]."
        )


def _refuse_unknown(split: str, captions: Captions, ids: Answers, vocabulary: Vocabulary) -> None:
    """Warn that most words are unknown, or raise `DataError` if all training words are."""
    answers = [(i, j, answer) for i, image in enumerate(ids) for j, answer in enumerate(image)]
    words = sum(len(answer) for _, _, answer in answers)
    unknown = sum(answer.count(vocabulary.unknown) for _, _, answer in answers)
    i, j, _ = max(answers, key=lambda each: each[2].count(vocabulary.unknown))
    text = (
        f"{captions.location(i, j)}: {unknown:,} of the {words:,} words in the captions of {split} "
        f"are unknown, such as those of {reprlib.repr(captions.texts[i][j])}. Lower "
        "tokenizer.min_count, raise tokenizer.max_size, take another tokenizer, or add captions"
    )
    if split == "train" and unknown == words:
        raise DataError(f"{text}.")
    warnings.warn(text, DataWarning, stacklevel=4)


def _longest(captions: Captions, ids: Answers) -> int:
    """Tokens of the longest caption; 0 without one."""
    lengths = sorted(
        (len(answer), i, j) for i, image in enumerate(ids) for j, answer in enumerate(image)
    )
    if not lengths:
        return 0
    # All but a twentieth of the captions, and one at least.
    usual = lengths[max(0, len(lengths) - 2 - len(lengths) // 20)][0]
    longest, i, j = lengths[-1]
    if longest > max(_OUTLIER * usual, _SHORT):
        warnings.warn(
            f"{captions.location(i, j)}: this caption has {longest:,} tokens, nearly all others "
            f"have {usual} at most, and every sequence becomes as long as the longest. Mend it, or "
            f"cut long captions with data.max_tokens = {usual + 1}",
            DataWarning,
            stacklevel=4,
        )
    return longest


def caption_facts(
    config: CaptionConfig, tokens: CaptionTokens, files: tuple[Path, ...]
) -> DataFacts:
    """The facts of a data set whose captions have been read."""
    return facts_of(
        config,
        num_classes=len(tokens.vocabulary.tokens),
        class_names=tokens.vocabulary.tokens,
        split_sizes={name: len(answers) for name, answers in tokens.references.items()},
        files=files,
        num_tokens=tokens.num_tokens,
        pad=tokens.vocabulary.pad,
        unknown=tokens.vocabulary.unknown,
        notes=tokens.notes,
    )
