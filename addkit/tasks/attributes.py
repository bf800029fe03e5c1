"""The task of attributes: several dependent labels for each image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from addkit.errors import UsageError
from addkit.metrics.joint import JointMeter
from addkit.plugin.spec import Problem
from addkit.plugin.values import FREE, MISSING, Answer, Targets
from addkit.tasks.classification import label_scores
from addkit.tasks.evidence import attribute_index, value_index
from addkit.tasks.predictions import JointAnswer, JointPrediction


class Attributes:
    """N labels, each with its own classes; `problem` has their names and classes."""

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
        known = labels != MISSING  # (B, N)
        # MISSING is -1, which cannot be looked up in an embedding; weight 0 takes its place.
        return Targets(labels.clamp_min(0), known.float(), known=known)

    def meter(self) -> JointMeter:
        """A fresh meter."""
        return JointMeter(
            self.problem.combinations, self.problem.token_names, self.problem.class_names
        )

    def predictions(self, answer: Answer, top: int) -> list[JointPrediction]:
        """Joint answers, the best first, and the marginals of each attribute."""
        classes, images = self.problem.class_names, []
        for image, steps in enumerate(answer.steps):
            listed = [tuple(row) for row in answer.candidates[image].tolist()]  # S rows of N ids
            exact = [] if answer.log_p is None else answer.log_p[image].exp().tolist()  # S
            probability = dict(zip(listed, exact, strict=False))
            # The answer may be none of the candidates: the mean of chains is read token by token.
            # dict.fromkeys keeps the read-out's order and drops what several chains agree on.
            distinct = dict.fromkeys([tuple(answer.labels[image].tolist()), *listed])
            answers = tuple(
                JointAnswer(
                    {name: classes[k] for name, k in zip(self.names, row, strict=True)},
                    probability.get(row),
                    listed.count(row) / len(listed),
                )
                for row in list(distinct)[:top]
            )
            probabilities, votes = answer.probabilities[image], answer.votes[image]  # (N, K)
            marginals = {}
            for token, (start, stop) in enumerate(self.ranges):
                # All attributes share one K; the values of this one are start to stop.
                best = probabilities[token, start:stop].topk(min(top, stop - start))
                ids = best.indices + start  # (top,)
                marginals[self.names[token]] = label_scores(
                    classes, ids, best.values, votes[token][ids]
                )
            images.append(
                JointPrediction(
                    answers,
                    marginals,
                    int(steps),
                ).made_by(answer, image)
            )
        return images

    def given_labels(self, given: Mapping[str, str]) -> Tensor:
        """Values of some attributes, by name."""
        labels = torch.full((len(self.names),), FREE)  # (N,)
        for name, value in given.items():
            labels[attribute_index(self.problem, name)] = value_index(self.problem, name, value)
        return labels
