"""Scores of tags: several yes-or-no labels of one image (multi-label classification)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.plugin.values import Answer, Batch

ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class TagScores:
    """Scores of tags and their probabilities, in percent unless another unit is named.

    Means over tags leave out those that no image of the split has.
    """

    subset_accuracy: float
    """Images whose tags are all right, present and absent ones."""
    mean_ap: float
    """Mean over tags of their average precision, by the probability of each tag (mAP)."""
    micro_f1: float
    """F1 over all pairs of image and tag."""
    macro_f1: float
    """Mean over tags of their F1."""
    micro_f1_tuned: float | None
    """Micro F1 with each tag's threshold from the validation split; None without thresholds."""
    macro_f1_tuned: float | None
    """Macro F1 with these thresholds."""
    hamming: float
    """Hamming loss: pairs of image and tag that are wrong."""
    ece: float
    """Expected calibration error of the probabilities over all pairs, 15 bins."""
    consistency: float | None
    """Answers that are the tags of some training image, a share in [0, 1]; None where the data
    lists none."""
    nll: float | None
    """-log p(all tags | image), mean over images, in nats; None where the process has no exact
    likelihood."""
    count: int
    """Images."""


class TagMeter:
    """Collects answers for N tags.

    Args:
        names: of the tags.
        combinations: tuples of labels that occur in training; empty if they are not listed.
        thresholds: name -> probability from which a tag counts as present; empty for none.
    """

    def __init__(
        self,
        names: Sequence[str],
        combinations: Sequence[tuple[int, ...]] = (),
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        self.names, self.combinations = names, frozenset(combinations)
        self.thresholds = thresholds or {}
        self.predicted: list[Tensor] = []
        self.probabilities: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.truth: list[Tensor] = []

    def update(self, answer: Answer, batch: Batch) -> None:
        """Labels (B, N) and probabilities (B, N, 2) against the batch's labels."""
        self.predicted.append(answer.labels.cpu())
        # Rounding may lift one above 1, which torchmetrics would take for a logit.
        self.probabilities.append(answer.probabilities[..., 1].float().clamp(0, 1).cpu())
        self.labels.append(batch.labels.cpu())
        if answer.truth_log_p is not None:
            self.truth.append(answer.truth_log_p.cpu())

    def merge(self, other: TagMeter) -> None:
        """Append the images of another meter."""
        self.predicted += other.predicted
        self.probabilities += other.probabilities
        self.labels += other.labels
        self.truth += other.truth

    def compute(self) -> TagScores:
        """The scores so far."""
        # Two seconds to import, and predictions need no meter.
        from torchmetrics.functional.classification import (
            binary_average_precision,
            binary_calibration_error,
        )

        predicted, labels = torch.cat(self.predicted), torch.cat(self.labels)  # (images, N)
        p = torch.cat(self.probabilities)
        average = [
            float(binary_average_precision(own, truth))
            for own, truth in zip(p.T, labels.T, strict=True)
            if truth.any()
        ]
        tuned: tuple[float | None, float | None] = None, None
        if self.thresholds:
            least = torch.tensor([self.thresholds[name] for name in self.names])
            tuned = self._f1((p >= least).long(), labels)
        micro, macro = self._f1(predicted, labels)
        allowed = [tuple(row) in self.combinations for row in predicted.tolist()]
        log_p = [each[each.isfinite()] for each in self.truth]
        return TagScores(
            subset_accuracy=100 * float(self.correct.double().mean()),
            mean_ap=100 * sum(average) / max(len(average), 1),
            micro_f1=micro,
            macro_f1=macro,
            micro_f1_tuned=tuned[0],
            macro_f1_tuned=tuned[1],
            hamming=100 * float((predicted != labels).double().mean()),
            ece=100 * float(binary_calibration_error(p.flatten(), labels.flatten(), ECE_BINS)),
            consistency=sum(allowed) / len(allowed) if self.combinations else None,
            nll=-float(torch.cat(log_p).mean()) if any(map(len, log_p)) else None,
            count=len(labels),
        )

    @staticmethod
    def _f1(predicted: Tensor, labels: Tensor) -> tuple[float, float]:
        r"""Micro and macro F1 = 2 right / (images + answers), in percent, (images, N) each."""
        right = (predicted * labels).sum(0).double()  # (N,)
        total = (predicted + labels).sum(0).double()
        present = labels.sum(0) > 0
        micro = 2 * right.sum() / total.sum().clamp_min(1)
        macro = (2 * right / total.clamp_min(1))[present].sum() / present.sum().clamp_min(1)
        return 100 * float(micro), 100 * float(macro)

    def best_thresholds(self) -> dict[str, float]:
        """For each tag the probability from which calling it present has the best F1 here.

        The middle between that image's probability and the next smaller one, so that it holds for
        others too; 0.5 for a tag that no image has.
        """
        p, labels = torch.cat(self.probabilities).double(), torch.cat(self.labels)
        chosen = {}
        for name, own, truth in zip(self.names, p.T, labels.T, strict=True):
            if not truth.any():
                chosen[name] = 0.5
                continue
            order = own.argsort(descending=True, stable=True)
            sorted_p = own[order]
            # F1 if the first n images have the tag; only where the next probability is smaller.
            right = truth[order].cumsum(0)
            f1 = 2 * right / (torch.arange(1, len(own) + 1) + truth.sum())
            following = torch.cat([sorted_p[1:], sorted_p.new_zeros(1)])
            f1 = torch.where(sorted_p > following, f1, -1.0)
            best = int(f1.argmax())
            chosen[name] = float((sorted_p[best] + following[best]) / 2)
        return chosen

    @property
    def correct(self) -> Tensor:
        """(images,) bool: every tag is right."""
        return (torch.cat(self.predicted) == torch.cat(self.labels)).all(-1)

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """Tags that images have and no answer has."""
        missed = torch.cat(self.labels).any(0) & ~torch.cat(self.predicted).any(0)
        return tuple(name for name, miss in zip(self.names, missed.tolist(), strict=True) if miss)

    def examples(self, count: int) -> list[tuple[str, str]]:
        """Tags and answer of images at equal distances over the split."""
        labels, predicted = torch.cat(self.labels), torch.cat(self.predicted)
        every = max(1, len(labels) // count)
        return [
            (self._text(labels[i]), self._text(predicted[i]))
            for i in range(0, len(labels), every)[:count]
        ]

    def _text(self, row: Tensor) -> str:
        names = [name for name, label in zip(self.names, row.tolist(), strict=True) if label]
        return ", ".join(names) or "(no tag)"
