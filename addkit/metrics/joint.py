"""Scores of several labels at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.plugin.values import MISSING, Answer, Batch


@dataclass(frozen=True, slots=True)
class JointScores:
    """Scores of joint answers, shares in [0, 1]."""

    exact_match: float
    """Images with every known label right, among images with a known label."""
    consistency: float | None
    """Answers that are a combination of the training set; None where the data lists none."""
    token_accuracy: float
    """Known labels that are right."""
    nll: float | None
    """-log p(all labels | image), mean over images whose labels are all known, in nats; exact, and
    the same for every sampler. None where the process has no exact likelihood."""
    count: int
    """Images."""


class JointMeter:
    """Collects joint answers. `combinations` has the tuples of class ids that occur in training; if
    empty, they are not listed.
    """

    def __init__(self, combinations: Iterable[tuple[int, ...]]) -> None:
        self.combinations = frozenset(combinations)
        self.right: list[Tensor] = []
        self.known: list[Tensor] = []
        self.allowed: list[bool] = []
        self.truth: list[Tensor] = []

    def update(self, answer: Answer, batch: Batch) -> None:
        """Labels (B, N) against the batch's."""
        predicted, labels = answer.labels.cpu(), batch.labels.cpu()
        known = labels != MISSING
        # (B, N); MISSING is no class, so a missing label is never right.
        self.right.append(predicted == labels)
        self.known.append(known)
        if answer.truth_log_p is not None:
            self.truth.append(answer.truth_log_p.cpu())
        self.allowed += [tuple(row) in self.combinations for row in predicted.tolist()]

    def merge(self, other: JointMeter) -> None:
        """Append the images of another meter."""
        self.right += other.right
        self.known += other.known
        self.allowed += other.allowed
        self.truth += other.truth

    def compute(self) -> JointScores:
        """The scores so far."""
        right, known = torch.cat(self.right), torch.cat(self.known)  # (images, N)
        # NaN marks images with a missing label.
        # None of them may be finite, as for a process without an exact likelihood.
        finite = [log_p[log_p.isfinite()] for log_p in self.truth]
        consistency = sum(self.allowed) / len(self.allowed) if self.combinations else None
        return JointScores(
            exact_match=float(self.correct[known.any(-1)].float().mean()),
            consistency=consistency,
            token_accuracy=float(right.sum() / known.sum().clamp_min(1)),
            nll=-float(torch.cat(finite).mean()) if any(map(len, finite)) else None,
            count=len(right),
        )

    @property
    def correct(self) -> Tensor:
        """(images,) bool: every known label is right."""
        # Both are False for a missing label, so they are equal where no known label is wrong.
        return (torch.cat(self.right) == torch.cat(self.known)).all(-1)

    def examples(self, count: int) -> list[tuple[str, str]]:
        """None: the meter has no class names."""
        return []
