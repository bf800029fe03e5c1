"""What a user gets for one image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from addkit.plugin.values import InferenceSettings


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One class and how sure the answer is of it."""

    name: str
    index: int
    probability: float
    """Of the read-out, in [0, 1]."""
    votes: float
    """Share of chains that end at this class, in [0, 1]."""

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"name": self.name, "probability": self.probability, "votes": self.votes}


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image: classes, the most probable first."""

    labels: tuple[LabelScore, ...]
    steps: int
    """Denoising steps behind the votes."""
    inference: InferenceSettings | None = None
    """How the answer was made."""

    @property
    def label(self) -> LabelScore:
        """The most probable class."""
        return self.labels[0]

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"labels": [label.data() for label in self.labels], "steps": self.steps}

    def rows(self) -> list[tuple[str, ...]]:
        """Class, probability and votes."""
        return [(s.name, f"{100 * s.probability:.2f}", f"{100 * s.votes:.0f}") for s in self.labels]


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a caption."""

    text: str
    probability: float
    """That its own chain gave it, in [0, 1]; 1 where it was given."""


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption of an image."""

    text: str
    tokens: tuple[Token, ...]
    """Without pads."""
    score: float
    """What the read-out ranks by: agreement with the other chains, or log p."""


@dataclass(frozen=True, slots=True)
class CaptionPrediction:
    """The answer for one image: captions, the best first."""

    captions: tuple[Caption, ...]
    steps: int
    inference: InferenceSettings | None = None
    """How the answer was made."""

    @property
    def text(self) -> str:
        """The best caption."""
        return self.captions[0].text

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"captions": [asdict(caption) for caption in self.captions], "steps": self.steps}

    def rows(self) -> list[tuple[str, ...]]:
        """Caption, the percent that each token is sure of, and score."""
        return [
            (
                c.text or "(no words)",
                " ".join(f"{100 * t.probability:.0f}" for t in c.tokens),
                f"{c.score:.3f}",
            )
            for c in self.captions
        ]


@dataclass(frozen=True, slots=True)
class JointAnswer:
    """One value for each attribute."""

    values: dict[str, str]
    probability: float | None
    """p(values | image), from left to right; None where it was not asked for."""
    votes: float
    """Share of the chains that end at this answer, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class JointPrediction:
    """The answer for one image with several attributes."""

    answers: tuple[JointAnswer, ...]
    """Different ones, the best first."""
    marginals: dict[str, tuple[LabelScore, ...]]
    """Each attribute by itself, the most probable value first."""
    steps: int
    inference: InferenceSettings | None = None
    """How the answer was made."""

    @property
    def values(self) -> dict[str, str]:
        """The best joint answer."""
        return self.answers[0].values

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        marginals = {name: [s.data() for s in scores] for name, scores in self.marginals.items()}
        answers = [asdict(answer) for answer in self.answers]
        return {"answers": answers, "marginals": marginals, "steps": self.steps}

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each joint answer, then one for each attribute's values by themselves."""
        joint: list[tuple[str, ...]] = [
            ("joint", ", ".join(a.values.values()), _percent(a.probability), f"{100 * a.votes:.0f}")
            for a in self.answers
        ]
        alone: list[tuple[str, ...]] = [
            (name if rank == 0 else "", s.name, _percent(s.probability), f"{100 * s.votes:.0f}")
            for name, scores in self.marginals.items()
            for rank, s in enumerate(scores)
        ]
        return joint + alone


def _percent(probability: float | None) -> str:
    return "-" if probability is None else f"{100 * probability:.2f}"
