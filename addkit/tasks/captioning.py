"""The task of captions: a sequence of tokens for each image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from addkit.data.captions import ReferencedImages
from addkit.diffusion.likelihood import up_to_end
from addkit.errors import UsageError
from addkit.plugin.protocols import ImageSet, Vocabulary
from addkit.plugin.spec import Problem
from addkit.plugin.values import FREE, Answer, Batch, Targets
from addkit.tasks.predictions import Caption, CaptionPrediction, Token
from addkit.tasks.settings import CaptioningConfig

if TYPE_CHECKING:
    from addkit.metrics.captions import CaptionScores

SLOT = "_"
"""A free token of a template."""
LARGEST_NLL = 700.0
"""Nats a token; the exponential of more is no number."""


class CaptionMeter:
    """Collects captions and references."""

    def __init__(self, vocabulary: Vocabulary, pad: int) -> None:
        self.vocabulary, self.pad = vocabulary, pad
        self.captions: list[str] = []
        self.chains: list[list[str]] = []
        self.references: list[list[str]] = []
        self.truth_log_p: list[float] = []
        """log p of the first true caption with its end, where a likelihood exists."""
        self.tokens: list[int] = []
        """Its number of tokens."""

    def update(self, answer: Answer, batch: Batch) -> None:
        """The answer's labels (B, N) against every reference of the batch."""
        decode = self.vocabulary.decode
        self.captions += [decode(ids) for ids in answer.labels.tolist()]
        self.chains += [[decode(ids) for ids in image] for image in answer.candidates.tolist()]
        self.references += references_of(batch, self.vocabulary)
        if answer.truth_log_p is not None:
            self.truth_log_p += answer.truth_log_p.tolist()
            self.tokens += up_to_end(batch.labels, self.pad).sum(-1).tolist()

    def merge(self, other: CaptionMeter) -> None:
        """Append the images of another meter."""
        self.captions += other.captions
        self.chains += other.chains
        self.references += other.references
        self.truth_log_p += other.truth_log_p
        self.tokens += other.tokens

    def compute(self) -> CaptionScores:
        """The scores of the text; with several chains also how many of them are valid."""
        # Caption metrics are imported when text is scored, so that a run of labels never does.
        from addkit.metrics.captions import chain_validity, score_captions

        scores = score_captions(self.captions, self.references)
        if self.tokens and -sum(self.truth_log_p) < LARGEST_NLL * sum(self.tokens):
            nll = -sum(self.truth_log_p) / sum(self.tokens)
            scores = replace(scores, perplexity=math.exp(nll))
        # One chain is the caption itself: its validity is the exact match.
        if len(self.chains[0]) == 1:
            return scores
        spread = chain_validity(self.chains, self.references)
        return replace(
            scores, valid=spread.valid, any_valid=spread.any_valid, coverage=spread.coverage
        )

    @property
    def correct(self) -> Tensor:
        """(images,) bool: captions that equal a reference."""
        # Decoded texts are compared, not ids: a reference may have words that the vocabulary lacks.
        pairs = zip(self.captions, self.references, strict=True)
        return torch.tensor([caption in references for caption, references in pairs])

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """None: most words of a vocabulary are rare."""
        return ()

    def examples(self, count: int) -> list[tuple[str, str]]:
        """First reference and caption of images at equal distances over the split."""
        every = max(1, len(self.captions) // count)
        chosen = range(0, len(self.captions), every)[:count]
        return [(self.references[i][0], self.captions[i]) for i in chosen]


def references_of(batch: Batch, vocabulary: Vocabulary) -> list[list[str]]:
    """Every true caption of each image of a batch."""
    if batch.texts is not None:
        return [list(texts) for texts in batch.texts]
    if batch.references is None or batch.reference_counts is None:
        return [[vocabulary.decode(ids)] for ids in batch.labels.tolist()]
    rows = zip(batch.references.tolist(), batch.reference_counts.tolist(), strict=True)
    return [[vocabulary.decode(ids) for ids in row[:count]] for row, count in rows]


def captions_of(images: ImageSet, vocabulary: Vocabulary) -> list[list[str]]:
    """Every true caption of each image of a split, without reading an image."""
    if isinstance(images, ReferencedImages):
        return [list(images.texts(index)) for index in range(len(images))]
    return [[vocabulary.decode(ids)] for ids in images.labels.tolist()]


class Captioning:
    """Captions of up to N tokens, padded to N.

    Args:
        config: how pads are treated.
        problem: the vocabulary and its tokenizer.
    """

    headline: str = "exact_match"
    columns: tuple[str, ...] = ("caption", "probability %", "tokens %", "score")

    def __init__(self, config: CaptioningConfig, problem: Problem) -> None:
        if problem.tokenizer is None or problem.pad is None:
            raise UsageError("the task captioning needs a tokenizer and data with captions")
        self.tokenizer, self.tokens = problem.tokenizer, problem.class_names
        self.pad, self.num_tokens = problem.pad, problem.num_tokens
        self.config = config
        self.predicts_length = config.pad == "mask"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The run's vocabulary; built on first use, since a dry run has its size alone."""
        return self.tokenizer.restore(self.tokens)

    def targets(self, labels: Tensor) -> Targets:
        """Weight 1 for words and the first pad, `pad_weight` for other pads; no masked pads."""
        is_pad = labels == self.pad  # (B, N)
        if self.config.pad == "mask":
            present = ~is_pad
            return Targets(labels, present.float(), real=present, present=present)
        # The first pad is the end of the caption, which the network must learn like a word.
        filling = is_pad & (is_pad.long().cumsum(-1) > 1)  # cumsum counts pads from the left.
        weights = torch.where(filling, self.config.pad_weight, 1.0)
        return Targets(labels, weights, real=~filling)

    def meter(self) -> CaptionMeter:
        """A fresh meter."""
        return CaptionMeter(self.vocabulary, self.pad)

    def predictions(self, answer: Answer, top: int) -> list[CaptionPrediction]:
        """The `top` best captions of each image."""
        images, prior = [], answer.prior
        lengths = torch.ones_like(answer.scores) if prior is None else prior.exp()  # (B, S)
        for image, steps in enumerate(answer.steps.tolist()):
            captions = []
            for ids, confidence, score, length in zip(
                answer.candidates[image, :top].tolist(),  # (S, N)
                answer.confidence[image, :top].tolist(),  # (S, N)
                answer.scores[image, :top].tolist(),  # (S,)
                lengths[image, :top].tolist(),  # (S,)
                strict=True,
            ):
                # A caption ends at its first pad, whatever follows.
                stop = ids.index(self.pad) if self.pad in ids else len(ids)
                pairs = zip(ids[:stop], confidence, strict=False)
                tokens = tuple(Token(self.vocabulary.tokens[k], p) for k, p in pairs)
                # The first pad ends the caption; with masked pads the length head decided that.
                counted = confidence[: stop if self.predicts_length else stop + 1]
                probability = math.prod(counted) * length
                text = self.vocabulary.decode(ids)
                captions.append(Caption(text, tokens, score, probability))
            images.append(
                CaptionPrediction(
                    tuple(captions),
                    int(steps),
                ).made_by(answer, image)
            )
        return images

    def given_labels(self, given: Mapping[str, str]) -> Tensor:
        """The words of a template, in which `_` is free, or a length; pads behind the end."""
        unknown = [name for name in given if name not in ("template", "length")]
        if unknown:
            raise UsageError(
                f"a caption has no attribute {unknown[0]}; what can be given is a template or a "
                "length"
            )
        if len(given) != 1:
            raise UsageError("a template has its own length; give one of template and length")
        if "template" in given:
            labels: list[int] = []
            for word in given["template"].split():
                # Word by word, so that the error names the word; it may have several tokens.
                ids = [FREE] if word == SLOT else self.vocabulary.encode(word)
                if not ids or self.vocabulary.unknown in ids:
                    raise UsageError(f'template: the vocabulary has no word "{word}"')
                labels += ids
            self._check_length(len(labels))
        else:
            length = given["length"]
            if not length.isdecimal():
                raise UsageError(f'length "{length}": give a number of tokens')
            # Checked before a list of that length is made.
            self._check_length(int(length))
            labels = [FREE] * int(length)
        return torch.tensor(labels + [self.pad] * (self.num_tokens - len(labels)))

    def _check_length(self, length: int) -> None:
        if not 0 < length <= self.num_tokens:
            raise UsageError(f"{length} tokens wanted; this run writes from 1 to {self.num_tokens}")
