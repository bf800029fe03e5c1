"""Scores that count every class alike, however many images it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Images of each class, (K,) each."""

    right: Tensor
    """Images of the class whose answer is right."""
    labelled: Tensor
    """Images of the class."""
    predicted: Tensor
    """Images whose answer is the class."""

    @classmethod
    def of(cls, predicted: Tensor, labels: Tensor, num_classes: int) -> Self:
        """Counts of answers and labels, (images,) class ids each."""
        return cls(
            *(
                torch.bincount(ids, minlength=num_classes)
                for ids in (labels[predicted == labels], labels, predicted)
            )
        )

    @property
    def balanced_accuracy(self) -> float:
        r"""Mean recall over classes that have images, in [0, 1]; NaN if none has any.

        .. math:: \frac{1}{|C|} \sum_{k \in C} \frac{right_k}{labelled_k}
        """
        present = self.labelled > 0
        return float((self.right / self.labelled)[present].mean())

    @property
    def macro_f1(self) -> float:
        r"""Mean F1 over classes that have images, in [0, 1]; NaN if none has any.

        .. math:: F_k = \frac{2 right_k}{labelled_k + predicted_k}

        is the harmonic mean of precision and recall, and 0 for a class without a right answer. A
        class that has no images is left out even if it is an answer.
        """
        present = self.labelled > 0
        return float((2 * self.right / (self.labelled + self.predicted))[present].mean())

    @property
    def never_predicted(self) -> list[int]:
        """Classes that have images and are no image's answer."""
        ids: list[int] = ((self.labelled > 0) & (self.predicted == 0)).nonzero()[:, 0].tolist()
        return ids
