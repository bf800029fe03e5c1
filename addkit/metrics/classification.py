"""Accuracy and calibration of class probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from addkit.metrics.classes import ClassCounts

ECE_BINS = 15
SMALLEST = 1e-12
"""Floor of a probability in the log-likelihood."""


@dataclass(frozen=True, slots=True)
class ClassificationScores:
    """Scores of predicted class probabilities."""

    top1: float
    """Share of images whose most probable class is right, in percent."""
    top5: float
    """The same for the five most probable, in percent (all K where K < 5)."""
    balanced: float
    """Balanced accuracy: mean over classes of the share of their images that is right, in percent;
    classes without images are left out."""
    macro_f1: float
    """Mean over the same classes of F1 = 2 right / (images + answers), in percent."""
    nll: float
    """Mean negative log-likelihood, in nats."""
    brier: float
    """Mean of sum_k (p_k - y_k)^2, in [0, 2] (Brier 1950)."""
    ece: float
    """Expected calibration error, 15 bins, in percent (Guo et al. 2017)."""
    count: int
    """Images."""


class LabelMeter:
    """Accuracy and calibration, batch by batch."""

    def __init__(self, num_classes: int) -> None:
        # Two seconds to import, and predictions need no meter.
        from torchmetrics import MeanMetric, MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

        top5 = min(5, num_classes)
        # `merge` adds up ranks; torchmetrics must not do so a second time.
        alone: dict[str, Any] = {"sync_on_compute": False}
        self.shares = MetricCollection(
            {
                "top1": MulticlassAccuracy(num_classes, average="micro", **alone),
                "top5": MulticlassAccuracy(num_classes, average="micro", top_k=top5, **alone),
                "ece": MulticlassCalibrationError(num_classes, n_bins=ECE_BINS, **alone),
            },
            compute_groups=False,
        )
        self.means = {"nll": MeanMetric(**alone), "brier": MeanMetric(**alone)}
        self.num_classes = num_classes
        self.predicted: list[Tensor] = []
        self.labels: list[Tensor] = []

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Probabilities (B, K), rows sum to 1, against class ids (B,)."""
        # torchmetrics takes a batch for logits if rounding has lifted one entry above 1.
        # On the CPU: meters are gathered from all ranks, and none may refer to another rank's GPU.
        probabilities, labels = probabilities.float().clamp(0, 1).cpu(), labels.cpu()
        # (B,): the probability of the true class.
        picked = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)
        self.shares.update(probabilities, labels)
        self.means["nll"].update(-picked.clamp_min(SMALLEST).log())
        # sum_k (p_k - y_k)^2 = sum_k p_k^2 - 2 p_y + 1.
        self.means["brier"].update(probabilities.square().sum(1) - 2 * picked + 1)
        # Kept by image, beside the means: paired comparisons need each answer.
        self.predicted.append(probabilities.argmax(1))
        self.labels.append(labels)

    def merge(self, other: LabelMeter) -> None:
        """Append the images of another meter."""
        for name, share in self.shares.items():
            share.merge_state(other.shares[name])
        for name, mean in self.means.items():
            mean.merge_state(other.means[name])
        self.predicted += other.predicted
        self.labels += other.labels

    def compute(self) -> ClassificationScores:
        """The scores of all images so far."""
        shares = {name: 100 * float(value) for name, value in self.shares.compute().items()}
        means = {name: float(metric.compute()) for name, metric in self.means.items()}
        classes = self.classes
        return ClassificationScores(
            **shares,
            balanced=100 * classes.balanced_accuracy,
            macro_f1=100 * classes.macro_f1,
            **means,
            count=len(self.correct),
        )

    @property
    def classes(self) -> ClassCounts:
        """Counts of the images so far by class."""
        return ClassCounts.of(torch.cat(self.predicted), torch.cat(self.labels), self.num_classes)

    @property
    def correct(self) -> Tensor:
        """(images,) bool: which answers were right, in order of update, for paired comparisons."""
        return torch.cat(self.predicted) == torch.cat(self.labels)
