"""A sequence of tokens for each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from addkit.data.captions import ReferencedImages
from addkit.diffusion.chain import FREE
from addkit.diffusion.results import Answer, Targets
from addkit.errors import UsageError
from addkit.plugin.facts import Batch
from addkit.plugin.protocols import ImageSet, Vocabulary
from addkit.plugin.spec import Problem
from addkit.tasks.predictions import Caption, CaptionPrediction, Token
from addkit.tasks.settings import CaptioningConfig

if TYPE_CHECKING:
    from addkit.metrics.captions import CaptionScores

SLOT = "_"
"""In a template: a token that is free."""


class CaptionMeter:
    """Gathers captions and references."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.captions: list[str] = []
        self.chains: list[list[str]] = []
        self.references: list[list[str]] = []

    def update(self, answer: Answer, batch: Batch) -> None:
        """The answer's labels (B, N) against every reference of the batch."""
        decode = self.vocabulary.decode
        self.captions += [decode(ids) for ids in answer.labels.tolist()]
        self.chains += [[decode(ids) for ids in image] for image in answer.candidates.tolist()]
        self.references += references_of(batch, self.vocabulary)

    def merge(self, other: CaptionMeter) -> None:
        """Take over what another meter has seen, behind what this one has."""
        self.captions += other.captions
        self.chains += other.chains
        self.references += other.references

    def compute(self) -> CaptionScores:
        """All scores that need the text alone; of several chains also how they spread."""
        from addkit.metrics.captions import chain_validity, score_captions

        scores = score_captions(self.captions, self.references)
        if len(self.chains[0]) == 1:
            return scores
        spread = chain_validity(self.chains, self.references)
        return replace(
            scores, valid=spread.valid, any_valid=spread.any_valid, coverage=spread.coverage
        )

    @property
    def correct(self) -> Tensor:
        """(images,) bool: captions that equal a reference."""
        pairs = zip(self.captions, self.references, strict=True)
        return torch.tensor([caption in references for caption, references in pairs])

    def examples(self, count: int) -> list[tuple[str, str]]:
        """The first reference and the caption of images from all over the split."""
        every = max(1, len(self.captions) // count)
        chosen = range(0, len(self.captions), every)[:count]
        return [(self.references[i][0], self.captions[i]) for i in chosen]


def references_of(batch: Batch, vocabulary: Vocabulary) -> list[list[str]]:
    """Every right caption of each image of a batch."""
    if batch.texts is not None:
        return [list(texts) for texts in batch.texts]
    if batch.references is None or batch.reference_counts is None:
        return [[vocabulary.decode(ids)] for ids in batch.labels.tolist()]
    rows = zip(batch.references.tolist(), batch.reference_counts.tolist(), strict=True)
    return [[vocabulary.decode(ids) for ids in row[:count]] for row, count in rows]


def captions_of(images: ImageSet, vocabulary: Vocabulary) -> list[list[str]]:
    """Every right caption of each image of a split, without reading an image."""
    if isinstance(images, ReferencedImages):
        return [list(images.texts(index)) for index in range(len(images))]
    return [[vocabulary.decode(ids)] for ids in images.labels.tolist()]


class Captioning:
    """N tokens, filled up with pads.

    Args:
        config: what pads are.
        problem: the vocabulary and its tokenizer.
    """

    headline: str = "exact_match"
    columns: tuple[str, ...] = ("caption", "tokens sure, %", "score")

    def __init__(self, config: CaptioningConfig, problem: Problem) -> None:
        if problem.tokenizer is None or problem.pad is None:
            raise UsageError("the task captioning needs a tokenizer and data with captions")
        self.tokenizer, self.tokens = problem.tokenizer, problem.class_names
        self.pad, self.num_tokens = problem.pad, problem.num_tokens
        self.config = config
        self.predicts_length = config.pad == "mask"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The run's own; a plan without data knows its size alone, so it is made when needed."""
        return self.tokenizer.restore(self.tokens)

    def targets(self, labels: Tensor) -> Targets:
        """Words and the end count 1, pads behind the end `pad_weight`; or pads do not exist."""
        is_pad = labels == self.pad
        if self.config.pad == "mask":
            present = ~is_pad
            return Targets(labels, present.float(), real=present, present=present)
        filling = is_pad & (is_pad.long().cumsum(-1) > 1)
        weights = torch.where(filling, self.config.pad_weight, 1.0)
        return Targets(labels, weights, real=~filling)

    def meter(self) -> CaptionMeter:
        """A fresh meter."""
        return CaptionMeter(self.vocabulary)

    def tell(self, answer: Answer, top: int) -> list[CaptionPrediction]:
        """The `top` best captions of each image."""
        told = []
        for image, steps in enumerate(answer.steps.tolist()):
            rows = zip(
                answer.candidates[image, :top].tolist(),
                answer.confidence[image, :top].tolist(),
                answer.scores[image, :top].tolist(),
                strict=True,
            )
            captions = tuple(self._caption(*row) for row in rows)
            told.append(CaptionPrediction(captions, int(steps)))
        return told

    def _caption(self, ids: list[int], confidence: list[float], score: float) -> Caption:
        stop = ids.index(self.pad) if self.pad in ids else len(ids)
        pairs = zip(ids[:stop], confidence, strict=False)
        tokens = tuple(Token(self.vocabulary.tokens[k], p) for k, p in pairs)
        return Caption(self.vocabulary.decode(ids), tokens, score)

    def given(self, wishes: Mapping[str, str]) -> Tensor:
        """A template's words, `_` being free, or a length: what follows is pads."""
        unknown = [name for name in wishes if name not in ("template", "length")]
        if unknown:
            raise UsageError(
                f"a caption has no attribute {unknown[0]}; what can be given is a template or a "
                "length"
            )
        if len(wishes) != 1:
            raise UsageError("a template has its own length; give one of template and length")
        if "length" in wishes:
            wanted = [FREE] * self._length(wishes["length"])
        else:
            wanted = self._template(wishes["template"])
            self._check(len(wanted))
        return torch.tensor(wanted + [self.pad] * (self.num_tokens - len(wanted)))

    def _check(self, wanted: int) -> None:
        if not 0 < wanted <= self.num_tokens:
            raise UsageError(f"{wanted} tokens wanted; this run writes from 1 to {self.num_tokens}")

    def _length(self, text: str) -> int:
        if not text.isdecimal():
            raise UsageError(f'length "{text}": give a number of tokens')
        # Before a list of that length is made.
        self._check(int(text))
        return int(text)

    def _template(self, template: str) -> list[int]:
        wanted: list[int] = []
        for word in template.split():
            ids = [FREE] if word == SLOT else self.vocabulary.encode(word)
            if not ids or self.vocabulary.unknown in ids:
                raise UsageError(f'template: the vocabulary has no word "{word}"')
            wanted += ids
        return wanted
