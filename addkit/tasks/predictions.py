"""What a user gets for one image."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LabelScore", "Prediction"]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One class and how sure the answer is of it."""

    name: str
    index: int
    probability: float
    """Of the read-out, in [0, 1]."""
    votes: float
    """Share of chains that end at this class, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image: classes, the most probable first."""

    labels: tuple[LabelScore, ...]
    steps: int
    """Denoising steps behind the votes."""

    @property
    def label(self) -> LabelScore:
        """The most probable class."""
        return self.labels[0]
