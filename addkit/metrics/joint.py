"""Scores of several labels at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.metrics.classes import ClassCounts
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
    token_balanced: float
    """Mean over labels of their balanced accuracy: of one label, the mean over its values of the
    share of their images that is right. Values and labels without images are left out."""
    nll: float | None
    """-log p(all labels | image), mean over images whose labels are all known, in nats; exact, and
    the same for every sampler. None where the process has no exact likelihood."""
    label_nll: float | None
    """-log of the marginal probability of a known label, mean over labels, in nats."""
    count: int
    """Images."""


class JointMeter:
    """Collects joint answers. `combinations` has the tuples of class ids that occur in training; if
    empty, they are not listed. `token_names` and `class_names` name labels and their values.
    """

    def __init__(
        self,
        combinations: Iterable[tuple[int, ...]],
        token_names: Sequence[str] = (),
        class_names: Sequence[str] = (),
    ) -> None:
        self.combinations = frozenset(combinations)
        self.token_names, self.class_names = token_names, class_names
        self.predicted: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.allowed: list[bool] = []
        self.truth: list[Tensor] = []
        self.losses: list[Tensor] = []

    def update(self, answer: Answer, batch: Batch) -> None:
        """Labels (B, N) against the batch's."""
        predicted, labels = answer.labels.cpu(), batch.labels.cpu()
        self.predicted.append(predicted)
        self.labels.append(labels)
        if answer.truth_log_p is not None:
            self.truth.append(answer.truth_log_p.cpu())
        self.allowed += [tuple(row) in self.combinations for row in predicted.tolist()]
        known = labels != MISSING
        picked = answer.probabilities.cpu().gather(-1, labels.clamp_min(0).unsqueeze(-1))[..., 0]
        # The floor keeps the log of a probability that has underflown finite.
        self.losses.append(-picked[known].clamp_min(1e-30).log())

    def merge(self, other: JointMeter) -> None:
        """Append the images of another meter."""
        self.predicted += other.predicted
        self.labels += other.labels
        self.allowed += other.allowed
        self.truth += other.truth
        self.losses += other.losses

    def compute(self) -> JointScores:
        """The scores so far."""
        # (images, N); MISSING is no class, so a missing label is never right.
        predicted, labels = torch.cat(self.predicted), torch.cat(self.labels)
        known = labels != MISSING
        right = predicted == labels
        # NaN marks images with a missing label.
        # None of them may be finite, as for a process without an exact likelihood.
        finite = [log_p[log_p.isfinite()] for log_p in self.truth]
        consistency = sum(self.allowed) / len(self.allowed) if self.combinations else None
        balanced = [counts.balanced_accuracy for counts in self.classes if counts.labelled.any()]
        return JointScores(
            exact_match=float(self.correct[known.any(-1)].float().mean()),
            consistency=consistency,
            token_accuracy=float(right.sum() / known.sum().clamp_min(1)),
            token_balanced=sum(balanced) / max(len(balanced), 1),
            nll=-float(torch.cat(finite).mean()) if any(map(len, finite)) else None,
            label_nll=float(torch.cat(self.losses).mean()) if known.any() else None,
            count=len(right),
        )

    @property
    def correct(self) -> Tensor:
        """(images,) bool: every known label is right."""
        predicted, labels = torch.cat(self.predicted), torch.cat(self.labels)
        return ((predicted == labels) | (labels == MISSING)).all(-1)

    @property
    def classes(self) -> list[ClassCounts]:
        """Counts of the images so far by value, for each label."""
        predicted, labels = torch.cat(self.predicted), torch.cat(self.labels)
        size = int(max(predicted.max(), labels.max())) + 1
        return [
            ClassCounts.of(answers[known], truth[known], size)
            for answers, truth in zip(predicted.T, labels.T, strict=True)
            for known in (truth != MISSING,)
        ]

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """Values that images have and no answer has, as `LABEL: VALUE`."""
        return tuple(
            f"{name}: {self.class_names[k]}"
            for name, counts in zip(self.token_names, self.classes, strict=True)
            for k in counts.never_predicted
        )

    def examples(self, count: int) -> list[tuple[str, str]]:
        """None: the meter has no class names."""
        return []
