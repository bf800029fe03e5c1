"""The task of attributes: several dependent labels for each image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from addkit.errors import UsageError, guess
from addkit.metrics.joint import JointMeter
from addkit.plugin.facts import MISSING
from addkit.plugin.spec import Problem
from addkit.plugin.values import FREE, Answer, Targets
from addkit.tasks.classification import label_scores
from addkit.tasks.predictions import JointAnswer, JointPrediction, LabelScore


class Attributes:
    """N labels, each with its own classes.

    Args:
        problem: names and classes of the attributes.
    """

    headline: str = "exact_match"
    columns: tuple[str, ...] = ("attribute", "value", "probability %", "votes %")
    predicts_length = False

    def __init__(self, problem: Problem) -> None:
        if not problem.token_names:
            raise UsageError("the task attributes needs data with several attributes")
        self.problem = problem
        self.names, self.ranges = problem.token_names, problem.token_classes

    def targets(self, labels: Tensor) -> Targets:
        """A missing value has no loss and stays pure noise."""
        known = labels != MISSING
        return Targets(labels.clamp_min(0), known.float(), known=known)

    def meter(self) -> JointMeter:
        """A fresh meter."""
        return JointMeter(self.problem.combinations)

    def predictions(self, answer: Answer, top: int) -> list[JointPrediction]:
        """Joint answers, the best first, and the marginals of each attribute."""
        return [
            JointPrediction(
                self._answers(answer, image)[:top],
                self._marginals(answer.probabilities[image], answer.votes[image], top),
                int(steps),
                inference=answer.inference,
                votes_inference=answer.votes_inference,
            )
            for image, steps in enumerate(answer.steps)
        ]

    def _answers(self, answer: Answer, image: int) -> tuple[JointAnswer, ...]:
        """The answer, then other candidates in the read-out's order."""
        listed = [tuple(row) for row in answer.candidates[image].tolist()]  # S rows of N ids
        exact = [] if answer.log_p is None else answer.log_p[image].exp().tolist()
        probability = dict(zip(listed, exact, strict=False))
        # The answer may be none of the candidates: the mean of chains is read token by token.
        return tuple(
            JointAnswer(self._named(row), probability.get(row), listed.count(row) / len(listed))
            for row in dict.fromkeys([tuple(answer.labels[image].tolist()), *listed])
        )

    def _named(self, row: tuple[int, ...]) -> dict[str, str]:
        return {name: self.problem.class_names[k] for name, k in zip(self.names, row, strict=True)}

    def _marginals(
        self, probabilities: Tensor, votes: Tensor, top: int
    ) -> dict[str, tuple[LabelScore, ...]]:
        """Probabilities and votes (N, K) of one image; each attribute has a range of the K."""
        marginals = {}
        for token, (name, (start, stop)) in enumerate(zip(self.names, self.ranges, strict=True)):
            best = probabilities[token, start:stop].topk(min(top, stop - start))
            ids = best.indices + start
            marginals[name] = label_scores(
                self.problem.class_names, ids, best.values, votes[token][ids]
            )
        return marginals

    def given_labels(self, given: Mapping[str, str]) -> Tensor:
        """Values of some attributes, by name."""
        labels = torch.full((len(self.names),), FREE)
        for name, value in given.items():
            if name not in self.names:
                raise UsageError(
                    f'no attribute "{name}"{guess(name, self.names)}; '
                    f"there are: {', '.join(self.names)}"
                )
            token = self.names.index(name)
            start, stop = self.ranges[token]
            classes = self.problem.class_names[start:stop]
            if value not in classes:
                raise UsageError(
                    f'{name} = "{value}": no such value{guess(value, classes)}; '
                    f"there are: {', '.join(classes)}"
                )
            labels[token] = start + classes.index(value)
        return labels
