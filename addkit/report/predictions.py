"""Predictions of a run and its controls on test images, computed again with their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from addkit.data.loader import fitting_workers
from addkit.data.loader import load as load_batches
from addkit.errors import AddkitError
from addkit.model import Predictor, build_data, load
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import MISSING, TAG_CLASSES, Batch, DataFacts
from addkit.recipe import recipe_from_tables
from addkit.report.figures.images import Example, ModelAnswer
from addkit.report.figures.style import spread
from addkit.report.run_files import NotShownError, RunFiles
from addkit.tasks.captioning import Captioning, references_of
from addkit.tasks.predictions import JointPrediction, TagPrediction
from addkit.terminal import addkit_command

MOST_IMAGES = 2000
TOP = 3
"""Candidates that an example may show."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer, compared with the truth."""

    answer: ModelAnswer
    ids: tuple[int, ...]
    """The class of each label; empty for captions."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One model's answers to all sampled test images."""

    name: str
    judged: Sequence[Judged]

    @property
    def right(self) -> np.ndarray:
        """(images,) bool."""
        return np.array([each.answer.right for each in self.judged])

    @property
    def confidence(self) -> np.ndarray:
        """(images,) in [0, 1]; nan where there is none."""
        values = [each.answer.confidence for each in self.judged]
        return np.array([math.nan if value is None else value for value in values])


@dataclass
class FreshPredictions:
    """Predictions of the run and its controls on images that are spread over the test split.

    Models and data are loaded when they are first needed. Every attribute raises `NotShownError`
    where the weights or the data cannot be read.

    Args:
        files: the run.
        overrides: `data.key=value` where the data has been moved.
        most: the largest number of images.
    """

    files: RunFiles
    overrides: Sequence[str] = ()
    most: int = MOST_IMAGES
    _failure: str | None = field(default=None, init=False)

    @cached_property
    def predictor(self) -> Predictor:
        """The run's averaged weights."""
        return self._loaded(next(iter(self.files.models)))

    def _loaded(self, name: str) -> Predictor:
        try:
            return load(self.files.models[name].path)
        except AddkitError as error:
            raise NotShownError(f"the weights cannot be loaded ({error})") from error

    @cached_property
    def images(self) -> ImageSet:
        """The test split."""
        # A failure is kept: each of several sections would otherwise try to open the data again.
        if self._failure is not None:
            raise NotShownError(self._failure)
        try:
            # The recipe of the run rather than of its file, which may have changed since.
            recipe = self.files.run.recipe()
            moved = recipe_from_tables(
                recipe.tables(), recipe.source, overrides=list(self.overrides)
            )
            source = build_data(moved)
            num_classes, trained = source.facts.num_classes, self.facts.num_classes
            if num_classes != trained:
                raise AddkitError(
                    f"it has {num_classes} classes, and the run was trained on {trained}"
                )
            return source.split("test")
        except AddkitError as error:
            again = addkit_command("report", self.files.run.path, "--set", "data.KEY=PATH")
            self._failure = (
                f"the run's data cannot be read ({error}); if it was moved, `{again}` finds it"
            )
            raise NotShownError(self._failure) from error

    @property
    def facts(self) -> DataFacts:
        """Facts of the data that the run was trained on."""
        return self.files.run.facts()

    @cached_property
    def indices(self) -> Sequence[int]:
        """Indices of the sampled images in the test split."""
        # Spread, since folders are sorted by class: the first 2,000 may be of two classes.
        return spread(len(self.images), self.most)

    @cached_property
    def tested(self) -> list[Tested]:
        """Answers of the run's own model, then of each control."""
        self.images  # noqa: B018  Before a model is loaded in vain.
        own, *controls = self.files.models
        # All models answer a batch while it is in memory: images are read and decoded once.
        models = {own: self.predictor, **{name: self._loaded(name) for name in controls}}
        judged: dict[str, list[Judged]] = {name: [] for name in models}
        # The run's own batch size: its memory was chosen for it.
        recipe, indices = self.predictor.recipe, list(self.indices)
        size, workers = recipe.sampling.batch_size, recipe.distributed.workers
        slices = [indices[start : start + size] for start in range(0, len(indices), size)]
        batches = load_batches(self.images, slices, seed=None, workers=fitting_workers(workers, 1))
        for number, batch in enumerate(batches):
            for name, predictor in models.items():
                # Seeded by the batch, so that a report that is written again has the same answers.
                answers = predictor.predict(
                    batch.images, side_inputs=batch.side_inputs, seed=number, top=TOP
                )
                judged[name] += judge(answers, batch, predictor)
        return [Tested(name, rows) for name, rows in judged.items()]

    @cached_property
    def labels(self) -> Tensor:
        """(images, N) class ids of the sampled images."""
        return self.images.labels[torch.tensor(list(self.indices))]

    def example(self, row: int) -> Example:
        """The image of this row with its truth and all answers."""
        index = self.indices[row]
        batch = self.images.batch([index], None)
        answers = []
        for number, model in enumerate(self.tested):
            answer = model.judged[row].answer
            # Marginals of the run's own answer alone: those of all models would be long.
            marginals = () if number else answer.marginals
            answers.append(replace(answer, model=model.name, marginals=marginals))
        return Example(
            picture=self.images.picture(index),
            name=self.images.source(index),
            truth=truths(batch, self.predictor)[0],
            answers=answers,
        )


def truths(batch: Batch, predictor: Predictor) -> list[str]:
    """The right answer of each image as text; the first one if there are several."""
    if isinstance(predictor.task, Captioning):
        return [texts[0] for texts in references_of(batch, predictor.task.vocabulary)]
    names, tokens = predictor.class_names, predictor.facts.token_names
    if not tokens:
        return [names[k] for k in batch.labels[:, 0].tolist()]
    if predictor.facts.tag_shares:
        return [tag_text(tokens, row) for row in batch.labels.tolist()]
    return [
        joined({t: names[k] for t, k in zip(tokens, row, strict=True) if k != MISSING})
        for row in batch.labels.tolist()
    ]


def tag_text(tags: Sequence[str], labels: Sequence[int]) -> str:
    """The present tags as text."""
    return ", ".join(tag for tag, label in zip(tags, labels, strict=True) if label) or "(no tag)"


def joined(values: dict[str, str]) -> str:
    """A joint answer as text."""
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def judge(answers: Sequence[Any], batch: Batch, predictor: Predictor) -> list[Judged]:
    """Compare answers with the labels, or references, of their batch."""
    if isinstance(predictor.task, Captioning):
        judged = []
        references = references_of(batch, predictor.task.vocabulary)
        for answer, texts in zip(answers, references, strict=True):
            best = answer.captions[0]
            text, right = best.text or "(no words)", best.text in texts
            judged.append(Judged(ModelAnswer("", text, right, best.probability), ()))
        return judged
    rows = zip(answers, batch.labels.tolist(), strict=True)
    if predictor.facts.tag_shares:
        return [_tagged(answer, labels, predictor.facts) for answer, labels in rows]
    if predictor.facts.token_names:
        return [_joint(answer, labels, predictor.facts) for answer, labels in rows]
    return [
        Judged(
            # `example` adds the name of the model.
            ModelAnswer(
                "", answer.label.name, answer.label.index == labels[0], answer.label.probability
            ),
            (answer.label.index,),
        )
        for answer, labels in rows
    ]


def _tagged(answer: TagPrediction, labels: Sequence[int], facts: DataFacts) -> Judged:
    ids = tuple(int(answer.values[tag] == TAG_CLASSES[1]) for tag in facts.token_names)
    probabilities = [
        (score.name, f"{100 * score.probability:.0f} %")
        for score in sorted(answer.listed, key=lambda score: -score.probability)
    ]
    # In the order of the run's tags, as truths are.
    text, right = tag_text(facts.token_names, ids), ids == tuple(labels)
    return Judged(ModelAnswer("", text, right, answer.answers[0].probability, probabilities), ids)


def _joint(answer: JointPrediction, labels: Sequence[int], facts: DataFacts) -> Judged:
    # Two tokens may share the name of a class: each is looked up among its own token's classes.
    ids = tuple(
        start + facts.class_names[start:stop].index(answer.values[name])
        for name, (start, stop) in zip(facts.token_names, facts.token_classes, strict=True)
    )
    # Labels that are missing in the data are neither right nor wrong.
    right = all(k == label for k, label in zip(ids, labels, strict=True) if label != MISSING)
    marginals = [
        (name, ", ".join(f"{s.name} {100 * s.probability:.0f} %" for s in scores))
        for name, scores in answer.marginals.items()
    ]
    probability = answer.answers[0].probability
    return Judged(ModelAnswer("", joined(answer.values), right, probability, marginals), ids)
