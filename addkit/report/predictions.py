"""What only the trained run and its data know: answers to test images, and chains."""

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
from addkit.plugin.facts import MISSING, Batch, DataFacts
from addkit.plugin.protocols import ImageSet
from addkit.recipe import recipe_from_tables
from addkit.report.figures.samples import Example, Said
from addkit.report.figures.style import spread
from addkit.report.run_files import NotShownError, RunFiles
from addkit.tasks.captioning import Captioning, references_of
from addkit.tasks.predictions import CaptionPrediction, JointPrediction, Prediction

MOST_IMAGES = 2000
TOP = 3
"""Candidates that an example may show."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer, and what is right about it."""

    said: Said
    ids: tuple[int, ...]
    """The class of each label; empty for captions."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One model's answers to all images looked at."""

    name: str
    judged: Sequence[Judged]

    @property
    def right(self) -> np.ndarray:
        """(images,) bool."""
        return np.array([one.said.right for one in self.judged])

    @property
    def confidence(self) -> np.ndarray:
        """(images,) in [0, 1]; nan where there is none."""
        return np.array([math.nan if c is None else c for c in self._confidences()])

    def _confidences(self) -> list[float | None]:
        return [one.said.confidence for one in self.judged]


@dataclass
class Fresh:
    """The run and its controls, asked anew about up to 2,000 images spread over the test split.

    Each is loaded when it is first needed. Every attribute raises `NotShownError` where the run's
    weights or its data are not at hand.

    Args:
        files: the run.
        overrides: `data.key=value` where the data lies elsewhere now.
    """

    files: RunFiles
    overrides: Sequence[str] = ()
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
        if self._failure is not None:
            raise NotShownError(self._failure)
        try:
            return self._split()
        except AddkitError as error:
            path = self.files.run.path
            self._failure = (
                f"the run's data is not at hand ({error}); where it lies elsewhere now, "
                f"`addkit report {path} --set data.KEY=PLACE` finds it"
            )
            raise NotShownError(self._failure) from error

    def _split(self) -> ImageSet:
        recipe = self.files.run.recipe()
        moved = recipe_from_tables(recipe.tables(), recipe.source, overrides=list(self.overrides))
        source = build_data(moved)
        found, trained = source.facts.num_classes, self.facts.num_classes
        if found != trained:
            raise AddkitError(f"it has {found} classes, and the run was trained on {trained}")
        return source.split("test")

    @property
    def facts(self) -> DataFacts:
        """Of the data that the run was trained on."""
        return self.files.run.facts()

    @cached_property
    def places(self) -> Sequence[int]:
        """Positions of the images looked at, in the test split."""
        return spread(len(self.images), MOST_IMAGES)

    def _read(self) -> Any:
        recipe = self.predictor.recipe
        size, places = recipe.sampling.batch_size, list(self.places)
        slices = [places[start : start + size] for start in range(0, len(places), size)]
        return load_batches(
            self.images, slices, seed=None, workers=fitting_workers(recipe.distributed.workers, 1)
        )

    @cached_property
    def tested(self) -> list[Tested]:
        """Of the run's own model, then of each control."""
        self.images  # noqa: B018  Before a model is loaded in vain.
        own, *controls = self.files.models
        models = {own: self.predictor, **{name: self._loaded(name) for name in controls}}
        judged: dict[str, list[Judged]] = {name: [] for name in models}
        for number, batch in enumerate(self._read()):
            for name, predictor in models.items():
                answers = predictor.predict(
                    batch.images, side_inputs=batch.side_inputs, seed=number, top=TOP
                )
                judged[name] += judge(answers, batch, predictor)
        return [Tested(name, rows) for name, rows in judged.items()]

    @cached_property
    def labels(self) -> Tensor:
        """(images, N) class ids of the images looked at."""
        return self.images.labels[torch.tensor(list(self.places))]

    def example(self, row: int) -> Example:
        """The image of this row with its truth and all answers."""
        place = self.places[row]
        batch = self.images.batch([place], None)
        return Example(
            picture=self.images.picture(place),
            name=self.images.source(place),
            truth=truths(batch, self.predictor)[0],
            said=[self._said(number, row) for number in range(len(self.tested))],
        )

    def _said(self, model: int, row: int) -> Said:
        """Each label by itself is told of the run's own answer alone: it would be long."""
        said = self.tested[model].judged[row].said
        return replace(said, who=self.tested[model].name, more=() if model else said.more)


def truths(batch: Batch, predictor: Predictor) -> list[str]:
    """The right answer of each image as text; of several the first."""
    if isinstance(predictor.task, Captioning):
        return [texts[0] for texts in references_of(batch, predictor.task.vocabulary)]
    names, tokens = predictor.class_names, predictor.facts.token_names
    if not tokens:
        return [names[k] for k in batch.labels[:, 0].tolist()]
    return [
        joined({t: names[k] for t, k in zip(tokens, row, strict=True) if k != MISSING})
        for row in batch.labels.tolist()
    ]


def joined(values: dict[str, str]) -> str:
    """A joint answer as text."""
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def judge(answers: Sequence[Any], batch: Batch, predictor: Predictor) -> list[Judged]:
    """Answers against the labels, or references, of their batch."""
    if isinstance(predictor.task, Captioning):
        references = references_of(batch, predictor.task.vocabulary)
        return [_caption(answer, texts) for answer, texts in zip(answers, references, strict=True)]
    rows = zip(answers, batch.labels.tolist(), strict=True)
    if predictor.facts.token_names:
        return [_joint(answer, labels, predictor.facts) for answer, labels in rows]
    return [_label(answer, labels[0]) for answer, labels in rows]


def _label(answer: Prediction, label: int) -> Judged:
    best = answer.label
    return Judged(Said("", best.name, best.index == label, best.probability), (best.index,))


def _caption(answer: CaptionPrediction, texts: Sequence[str]) -> Judged:
    """How sure a caption is: the product of its tokens' probabilities."""
    best = answer.captions[0]
    sure = math.prod(token.probability for token in best.tokens)
    return Judged(Said("", best.text or "(no words)", best.text in texts, sure), ())


def _joint(answer: JointPrediction, labels: Sequence[int], facts: DataFacts) -> Judged:
    ids = tuple(
        start + facts.class_names[start:stop].index(answer.values[name])
        for name, (start, stop) in zip(facts.token_names, facts.token_classes, strict=True)
    )
    right = all(k == label for k, label in zip(ids, labels, strict=True) if label != MISSING)
    more = [
        (name, ", ".join(f"{s.name} {100 * s.probability:.0f} %" for s in scores))
        for name, scores in answer.marginals.items()
    ]
    said = Said("", joined(answer.values), right, answer.answers[0].probability, more)
    return Judged(said, ids)
