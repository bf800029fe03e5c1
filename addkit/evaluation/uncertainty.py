"""Which confidence to trust: votes of chains against the read-out and the controls' softmax."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.errors import DataError, UsageError
from addkit.evaluation.audit import loop_of
from addkit.evaluation.batches import Evaluator, Setting
from addkit.evaluation.results import Comparison, ConfidenceRow, Risk, Uncertainty
from addkit.metrics.classification import LabelMeter
from addkit.metrics.statistics import verdict
from addkit.metrics.uncertainty import (
    Confidence,
    Resampled,
    credible_sets,
    fit_temperature,
    resampled,
    tempered,
)
from addkit.model import Inference, Predictor
from addkit.plugin.protocols import DataSource, ImageSet

CHAINS = 10
VOTES, SMOOTHED, MEAN = "vote share", "votes, smoothed", "mean over chains"
SCORES = ("ece", "aurc")
CURVE = 20
"""Points of the risk-coverage curve: coverage 5 %, 10 %, ..., 100 %."""


def voting_chains(inference: Inference, chains: int | None) -> Inference:
    """The chains whose votes are counted, read at their last step; `chains` None: 10."""
    if chains == 1:
        raise UsageError("one chain has no votes to count; give --chains 2 or more")
    return loop_of(inference).replace(chains=chains or CHAINS)


def needs_one_label(predictor: Predictor) -> None:
    """Raise `UsageError` for captions and joint labels."""
    if predictor.facts.num_tokens > 1:
        raise UsageError(
            f"--uncertainty compares confidences of one label, and this run has "
            f"{predictor.facts.num_tokens} for each image"
        )


def measure_uncertainty(
    predictor: Predictor,
    controls: Mapping[str, Predictor],
    source: DataSource,
    split: str,
    inference: Inference,
    chains: int | None,
    seed: int,
    draws: int = 2000,
) -> Uncertainty:
    """Score every confidence, plain and temperature scaled. Raises `DataError` for fewer than two
    images.

    Args:
        predictor: a run of a single label.
        controls: by model name.
        source: the data. Temperatures are fitted on its validation split. Where there is none, or
            it is the split scored, each half of the images is scaled by the temperature of the
            other half.
        split: which images.
        inference: its read-out is compared with `voting_chains` of it.
        chains: S; None: 10.
        seed: random seed of the sampling noise and of the bootstrap.
        draws: resamples of the bootstrap.
    """
    images, loop = source.split(split), voting_chains(inference, chains)
    if len(images) < 2:
        raise DataError(f"{len(images)} images have no spread; --uncertainty needs at least 2")
    models = _Models(predictor, controls, inference, loop, seed)
    tested = models.predict(images)
    # A temperature fitted on the images that it is scored on would flatter every scaled row.
    apart = "validation" in source.facts.split_sizes and split != "validation"
    held_out = models.predict(source.split("validation")) if apart else None
    confidences = list(_confidences(tested, held_out))
    # One set of resamples for all, so that differences between confidences are paired by image.
    scores = resampled({each.title: each.confidence for each in confidences}, seed, draws)
    return Uncertainty(
        loop.chains,
        loop.steps,
        "the validation split" if apart else f"the other half of the {split} split",
        [_row(each, tested.labels, scores) for each in confidences],
        [
            Comparison(
                against=other.name,
                scaled=bool(other.temperatures),
                score=score,
                difference=interval.mean,
                low=interval.low,
                high=interval.high,
                n=interval.n,
                verdict=verdict(interval, higher_is_better=False),
            )
            for other in confidences
            # The vote share against what needs no chains.
            if other.name not in (VOTES, SMOOTHED, MEAN)
            for score, interval in zip(SCORES, scores.interval(VOTES, other.title), strict=True)
        ],
    )


@dataclass(frozen=True, slots=True)
class _Predicted:
    """Class probabilities (n, K) by the name of the confidence, and the labels (n,)."""

    probabilities: dict[str, Tensor]
    labels: Tensor


@dataclass(frozen=True, slots=True)
class _Models:
    """Every source of a confidence."""

    predictor: Predictor
    controls: Mapping[str, Predictor]
    inference: Inference
    loop: Inference
    seed: int

    def predict(self, images: ImageSet) -> _Predicted:
        """All confidences of a split."""
        settings = {self.inference.read_out.name: Setting(self.inference), MEAN: Setting(self.loop)}
        probabilities = self._predict(self.predictor, images, settings)
        chains, num_classes = self.loop.chains, self.predictor.facts.num_classes
        # One vote more, spread over all classes: no class has probability 0.
        smoothed = (probabilities[VOTES] * chains + 1 / num_classes) / (chains + 1)  # (n, K)
        probabilities[SMOOTHED] = smoothed
        for name, control in self.controls.items():
            probabilities |= self._predict(control, images, {name: Setting(control.inference)})
        return _Predicted(probabilities, images.labels.squeeze(1))

    def _predict(
        self, predictor: Predictor, images: ImageSet, settings: dict[str, Setting]
    ) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = defaultdict(list)
        evaluator = Evaluator.for_predictor(predictor, images, self.seed)
        for name, answer, _ in evaluator.predict_batches(settings):
            # (B, 1, K) -> (B, K)
            parts[name].append(answer.probabilities.squeeze(1).float().clamp(0, 1).cpu())
            # Votes come from the same chains as their mean: no second run.
            if name == MEAN:
                parts[VOTES].append(answer.votes.squeeze(1).float().cpu())
        return {name: torch.cat(part) for name, part in parts.items()}


@dataclass(frozen=True, slots=True)
class _Confidence:
    """One confidence of all images."""

    name: str
    probabilities: Tensor  # (n, K)
    confidence: Confidence
    temperatures: tuple[float, ...] = ()
    """Empty: not scaled."""

    @property
    def title(self) -> str:
        return f"{self.name}, scaled" if self.temperatures else self.name


def _confidences(tested: _Predicted, held_out: _Predicted | None) -> Iterator[_Confidence]:
    """Each confidence plain, then scaled."""
    labels = tested.labels
    for name, probabilities in tested.probabilities.items():
        yield _Confidence(name, probabilities, Confidence.of(probabilities, labels))
        if name == VOTES:
            continue  # A class without votes has no logarithm to scale.
        if held_out is not None:
            temperatures: tuple[float, ...] = (
                fit_temperature(held_out.probabilities[name], held_out.labels),
            )
        else:
            # Even images are scaled by the odd ones' temperature, and the other way round: a split
            # that is sorted by class then still has all classes in both halves.
            temperatures = (
                fit_temperature(probabilities[1::2], labels[1::2]),
                fit_temperature(probabilities[::2], labels[::2]),
            )
        by_image = torch.tensor(temperatures)[torch.arange(len(probabilities)) % len(temperatures)]
        scaled = tempered(probabilities, by_image)  # (n, K)
        yield _Confidence(name, scaled, Confidence.of(scaled, labels), temperatures)


def _row(each: _Confidence, labels: Tensor, scores: Resampled) -> ConfidenceRow:
    meter = LabelMeter(each.probabilities.shape[1])
    meter.update(each.probabilities, labels)
    plain, sets = meter.compute(), credible_sets(each.probabilities, labels)
    ece, aurc = scores.interval(each.title)
    return ConfidenceRow(
        confidence=each.name,
        scaled=bool(each.temperatures),
        top1=plain.top1,
        ece=ece.mean,
        # The basic bootstrap mirrors the quantiles and may cross 0, which no error can.
        ece_low=max(0.0, ece.low),
        ece_high=ece.high,
        nll=plain.nll,
        brier=plain.brier,
        aurc=aurc.mean,
        aurc_low=max(0.0, aurc.low),
        aurc_high=aurc.high,
        risk80=each.confidence.risk(0.8),
        set_size=sets.size,
        set_coverage=sets.coverage,
        count=plain.count,
        temperatures=list(each.temperatures),
        reliability=each.confidence.reliability(),
        risk_coverage=[
            Risk(k / CURVE, each.confidence.risk(k / CURVE)) for k in range(1, CURVE + 1)
        ],
    )
