"""One label for each image."""

from __future__ import annotations

from torch import Tensor

from addkit.diffusion.results import Answer
from addkit.metrics.classification import ClassificationScores, LabelMeter
from addkit.plugin.spec import Problem
from addkit.tasks.predictions import LabelScore, Prediction


class ClassificationMeter:
    """Scores answers with N = 1, batch by batch."""

    def __init__(self, num_classes: int) -> None:
        self.meter = LabelMeter(num_classes)

    def update(self, answer: Answer, labels: Tensor) -> None:
        """Answer (B, 1, K) against labels (B, 1)."""
        self.meter.update(answer.probabilities.squeeze(1), labels.squeeze(1))

    def compute(self) -> ClassificationScores:
        """The scores so far."""
        return self.meter.compute()

    @property
    def correct(self) -> Tensor:
        """(images,) bool: which were right."""
        return self.meter.correct


class Classification:
    """Scores and tells answers with N = 1.

    Args:
        problem: K and the class names; a class without one is called by its number.
    """

    def __init__(self, problem: Problem) -> None:
        self.names = problem.class_names or tuple(map(str, range(problem.num_classes)))

    def meter(self) -> ClassificationMeter:
        """A fresh meter."""
        return ClassificationMeter(len(self.names))

    def tell(self, answer: Answer, top: int) -> list[Prediction]:
        """The `top` most probable classes of each image."""
        best = answer.probabilities.squeeze(1).topk(min(top, len(self.names)))
        votes = answer.votes.squeeze(1).gather(1, best.indices)
        rows = zip(best.indices, best.values, votes, answer.steps, strict=True)
        return [
            Prediction(self._scores(ids, values, vote), int(steps))
            for ids, values, vote, steps in rows
        ]

    def _scores(self, ids: Tensor, values: Tensor, votes: Tensor) -> tuple[LabelScore, ...]:
        rows = zip(ids.tolist(), values.tolist(), votes.tolist(), strict=True)
        return tuple(LabelScore(self.names[k], k, p, v) for k, p, v in rows)
