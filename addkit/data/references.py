"""Several right answers for an image, kept together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from addkit.data.wrapped import WrappedImages
from addkit.plugin.facts import Batch
from addkit.plugin.protocols import ImageSet


@dataclass(frozen=True, slots=True)
class References:
    """The right answers of n images, at least one each."""

    ids: Tensor
    """(answers in all, N) token ids, filled with pads."""
    starts: tuple[int, ...]
    """Where each image's answers begin, and where the last one's end: n + 1 numbers."""

    @classmethod
    def of(
        cls, answers: Sequence[Sequence[Sequence[int]]], num_tokens: int, pad: int
    ) -> References:
        """From token ids by image and answer; longer answers are cut to `num_tokens`."""
        rows = [[*ids[:num_tokens]] for image in answers for ids in image]
        filled = [row + [pad] * (num_tokens - len(row)) for row in rows]
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
        """Those of these images, in this order."""
        rows = [self.of_image(position) for position in positions]
        ids = torch.cat(rows) if rows else self.ids[:0]
        return References(ids, tuple(accumulate(map(len, rows), initial=0)))

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, C, N), each image's answers first and then its first one again, and counts (B,)."""
        rows = [self.of_image(index) for index in indices]
        counts = torch.tensor([len(row) for row in rows])
        most = int(counts.max())
        filled = [torch.cat([row, row[:1].expand(most - len(row), -1)]) for row in rows]
        return torch.stack(filled), counts


class ReferencedImages(WrappedImages):
    """An `ImageSet` whose images have several right answers.

    Args:
        images: n images.
        references: their answers.
        texts: the same as they were written.
        plain: from a text to how it would be decoded, whole; see `Vocabulary.plain`.
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
        """The same answers for something else that stands for these images."""
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
