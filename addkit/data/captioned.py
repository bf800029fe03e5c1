"""What caption data sets share: from captions by split to facts, vocabulary and right answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from addkit.data.file_images import FileImages
from addkit.data.references import ReferencedImages, References
from addkit.data.settings import CaptionConfig
from addkit.data.shards.images import ShardedImages
from addkit.data.splits import hold_out
from addkit.plugin.facts import DataFacts
from addkit.plugin.protocols import Tokenizer, Vocabulary


@dataclass(frozen=True, slots=True)
class Captions:
    """Images and their captions, at least one each."""

    names: tuple[str, ...]
    """What tells the images apart, such as their files."""
    texts: tuple[tuple[str, ...], ...]
    """The captions of each image."""

    def __len__(self) -> int:
        return len(self.names)

    def at(self, positions: Iterable[int]) -> Captions:
        """These images, in this order."""
        pairs = [(self.names[position], self.texts[position]) for position in positions]
        return Captions(tuple(name for name, _ in pairs), tuple(texts for _, texts in pairs))

    def below(self, folder: Path) -> Captions:
        """Their names as paths of files in this folder."""
        return Captions(tuple(str(folder / name) for name in self.names), self.texts)

    def split(self, share: float, seed: int, purpose: str) -> tuple[Captions, Captions]:
        """What is kept and the share of the images that is held out."""
        kept, held = hold_out([0] * len(self), self.names, share, seed, purpose)
        return self.at(kept), self.at(held)


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
        """
        vocabulary = tokenizer.learn(text for texts in splits["train"].texts for text in texts)
        ids = {name: _encoded(captions, vocabulary) for name, captions in splits.items()}
        longest = max((len(answer) for image in ids["train"] for answer in image), default=0)
        num_tokens = max_tokens or longest + 1
        return cls(
            vocabulary,
            num_tokens,
            {name: References.of(part, num_tokens, vocabulary.pad) for name, part in ids.items()},
            {
                f"{name}_{what}": count
                for name, part in ids.items()
                for what, count in _counts(part, num_tokens, vocabulary.unknown).items()
            },
        )


class CaptionedImages(ReferencedImages):
    """Images in files or shards, with `captions` as they were written."""

    def __init__(
        self,
        images: FileImages,
        references: References,
        captions: Captions,
        vocabulary: Vocabulary,
    ) -> None:
        super().__init__(images, references, captions.texts, vocabulary.plain)
        self.captions = captions
        self.shards: Tensor | None = images.shards if isinstance(images, ShardedImages) else None
        """As `ShardedImages.shards`, if they lie in shards."""


def caption_facts(
    config: CaptionConfig, tokens: CaptionTokens, files: tuple[Path, ...]
) -> DataFacts:
    """The facts of a data set whose captions have been read."""
    return DataFacts(
        num_classes=len(tokens.vocabulary.tokens),
        class_names=tokens.vocabulary.tokens,
        image_size=config.image_size,
        image_channels=config.image_channels,
        mean=config.mean,
        std=config.std,
        shorter_side=config.image_size,
        split_sizes={name: len(answers) for name, answers in tokens.references.items()},
        files=files,
        num_tokens=tokens.num_tokens,
        pad=tokens.vocabulary.pad,
        unknown=tokens.vocabulary.unknown,
        notes=tokens.notes,
    )


def _encoded(captions: Captions, vocabulary: Vocabulary) -> list[list[list[int]]]:
    return [[vocabulary.encode(text) for text in texts] for texts in captions.texts]


def _counts(
    images: Sequence[Sequence[Sequence[int]]], num_tokens: int, unknown: int | None
) -> Mapping[str, int]:
    answers = [answer for image in images for answer in image]
    return {
        "captions": len(answers),
        "captions_cut": sum(len(answer) > num_tokens for answer in answers),
        "words": sum(map(len, answers)),
        "unknown_words": sum(answer.count(unknown) for answer in answers if unknown is not None),
    }
