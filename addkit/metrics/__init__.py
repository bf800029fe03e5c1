"""Metrics. Standard ones are torchmetrics'."""

from addkit.metrics.classification import ClassificationScores, LabelMeter

__all__ = ["ClassificationScores", "LabelMeter"]
