"""The task of tags: which of N things an image shows, each with a probability."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from addkit.errors import UsageError, guess
from addkit.metrics.tags import TagMeter
from addkit.plugin.spec import Problem
from addkit.plugin.values import FREE, TAG_CLASSES, Answer, Targets
from addkit.tasks.predictions import TagPrediction, TagScore, TagSet
from addkit.tasks.settings import TagsConfig

NO = "no "
"""Before a tag that a user gives as absent."""


class Tags:
    """N tokens of the classes `TAG_CLASSES`; `problem` has the tags' names.

    Args:
        config: weights of rare tags.
        problem: the tags, and the share of training images that have each.
    """

    headline: str = "subset_accuracy"
    columns: tuple[str, ...] = ("tag", "answer", "probability %", "votes %")
    predicts_length = False

    def __init__(self, config: TagsConfig, problem: Problem) -> None:
        if not problem.token_names:
            raise UsageError("the task tags needs data with tags")
        self.names, self.combinations = problem.token_names, problem.combinations
        self.thresholds: Mapping[str, float] = {}
        """Probability from which a tag counts as present in the tuned F1, chosen on validation."""
        self.weights: Tensor | None = None
        if config.positive_weight and problem.tag_shares:
            share = torch.tensor(problem.tag_shares, dtype=torch.float64)  # (N,)
            # (1 - p) / p at gamma = 1: both answers of a tag have the same total weight.
            odds = (1 - share).clamp_min(1e-6) / share.clamp_min(1e-6)
            self.weights = (odds**config.positive_weight).float()

    def targets(self, labels: Tensor) -> Targets:
        """Weight 1, and of a present tag ((1 - p) / p)^gamma, p its share of training images."""
        if self.weights is None:
            return Targets(labels)
        present = self.weights.to(labels.device).expand(labels.shape)
        return Targets(labels, torch.where(labels > 0, present, 1.0))

    def meter(self) -> TagMeter:
        """A fresh meter."""
        return TagMeter(self.names, self.combinations, self.thresholds)

    def predictions(self, answer: Answer, top: int) -> list[TagPrediction]:
        """Sets of tags, the best first, and the probability of every tag."""
        images = []
        for image, steps in enumerate(answer.steps.tolist()):
            listed = [tuple(row) for row in answer.candidates[image].tolist()]  # S rows of N
            exact = [] if answer.log_p is None else answer.log_p[image].exp().tolist()  # S
            probability = dict(zip(listed, exact, strict=False))
            # The answer may be none of the candidates: the mean of chains is read token by token.
            own = tuple(answer.labels[image].tolist())
            distinct = dict.fromkeys([own, *listed])
            sets = tuple(
                TagSet(
                    tuple(name for name, has in zip(self.names, row, strict=True) if has),
                    probability.get(row),
                    listed.count(row) / len(listed),
                )
                for row in list(distinct)[:top]
            )
            p, votes = (x[image, :, 1].tolist() for x in (answer.probabilities, answer.votes))
            scores = [
                TagScore(name, bool(has), share, voted, self.thresholds.get(name))
                for name, has, share, voted in zip(self.names, own, p, votes, strict=True)
            ]
            # Those of the answer first, then the most probable ones.
            scores.sort(key=lambda score: (not score.present, -score.probability))
            images.append(TagPrediction(sets, tuple(scores), steps, top).made_by(answer, image))
        return images

    def given_labels(self, given: Mapping[str, str]) -> Tensor:
        """`{"dog": "yes"}`, or `{"dog": "", "no ball": ""}` as the command line has it."""
        labels = torch.full((len(self.names),), FREE)  # (N,)
        for text, value in given.items():
            # A tag may itself begin with "no", such as "no entry".
            name, default = text, TAG_CLASSES[1]
            if text not in self.names and text.startswith(NO):
                name, default = text.removeprefix(NO), TAG_CLASSES[0]
            if name not in self.names:
                raise UsageError(
                    f'no tag "{name}"{guess(name, self.names)}; there are: {", ".join(self.names)}'
                )
            value = value or default
            if value not in TAG_CLASSES:
                raise UsageError(
                    f'{name} = "{value}": no such value; write {name} or "{NO}{name}", or '
                    f"{name}={' or '.join(TAG_CLASSES)}"
                )
            token = self.names.index(name)
            label = TAG_CLASSES.index(value)
            if labels[token] not in (FREE, label):
                raise UsageError(f"{name} is given as present and as absent")
            labels[token] = label
        return labels
