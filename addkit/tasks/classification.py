"""The task of classification: one label for each image."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from addkit.errors import UsageError
from addkit.metrics.classification import ClassificationScores, LabelMeter
from addkit.plugin.spec import Problem
from addkit.plugin.values import Answer, Batch, Targets
from addkit.tasks.predictions import LabelScore, Prediction


class ClassificationMeter:
    """Scores answers with N = 1, batch by batch."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.meter = LabelMeter(len(names))

    def update(self, answer: Answer, batch: Batch) -> None:
        """Answer (B, 1, K) against the batch's labels (B, 1)."""
        # (B, 1, K) -> (B, K) and (B, 1) -> (B,)
        self.meter.update(answer.probabilities.squeeze(1), batch.labels.squeeze(1))

    def merge(self, other: ClassificationMeter) -> None:
        """Append the images of another meter."""
        self.meter.merge(other.meter)

    def compute(self) -> ClassificationScores:
        """The scores so far."""
        return self.meter.compute()

    @property
    def correct(self) -> Tensor:
        """(images,) bool: which answers were right."""
        return self.meter.correct

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """Names of classes that have images and are no image's answer."""
        return tuple(self.names[k] for k in self.meter.classes.never_predicted)

    def examples(self, count: int) -> list[tuple[str, str]]:
        """None: a class name adds little to the accuracy."""
        return []


class Classification:
    """One label for each image (N = 1). Without class names in `problem`, classes are numbered."""

    headline: str = "top1"
    columns: tuple[str, ...] = ("class", "probability %", "votes %")
    predicts_length = False

    def __init__(self, problem: Problem) -> None:
        # A dry run has the number of classes alone.
        self.names = problem.class_names or tuple(map(str, range(problem.num_classes)))

    def targets(self, labels: Tensor) -> Targets:
        """Every label counts."""
        return Targets(labels)

    def meter(self) -> ClassificationMeter:
        """A fresh meter."""
        return ClassificationMeter(self.names)

    def predictions(self, answer: Answer, top: int) -> list[Prediction]:
        """The `top` most probable classes of each image."""
        best = answer.probabilities.squeeze(1).topk(min(top, len(self.names)))  # (B, top)
        # Votes follow the order of the probabilities, which need not agree with their own.
        votes = answer.votes.squeeze(1).gather(1, best.indices)  # (B, top)
        rows = zip(best.indices, best.values, votes, answer.steps, strict=True)
        return [
            Prediction(
                label_scores(self.names, ids, values, vote),
                int(steps),
            ).made_by(answer, image)
            for image, (ids, values, vote, steps) in enumerate(rows)
        ]

    def given_labels(self, given: Mapping[str, str]) -> Tensor:
        """Always raises: a single label leaves nothing to predict once it is given."""
        raise UsageError(
            f"{', '.join(given)}: a classification run has one label, and nothing to give it; "
            "templates, lengths and given values are for captions and attributes"
        )


def label_scores(
    names: tuple[str, ...], ids: Tensor, values: Tensor, votes: Tensor
) -> tuple[LabelScore, ...]:
    """Class ids, probabilities and votes, (n,) each, as scores."""
    rows = zip(ids.tolist(), values.tolist(), votes.tolist(), strict=True)
    return tuple(LabelScore(names[k], k, p, v) for k, p, v in rows)
