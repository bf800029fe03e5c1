"""Which confidence to trust: votes of chains beside the read-out and the controls' softmax."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.data.loader import fitting_workers
from addkit.errors import DataError, UsageError
from addkit.evaluation.audit import LOOP
from addkit.evaluation.batches import Case, answers
from addkit.metrics.classification import LabelMeter
from addkit.metrics.statistics import Verdict, verdict
from addkit.metrics.uncertainty import (
    Bin,
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


@dataclass(frozen=True, slots=True)
class Risk:
    """A point of the risk-coverage curve."""

    coverage: float
    """Share of images that get an answer, the surest ones, in [0, 1]."""
    risk: float
    """Wrong ones among them, in percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceRow:
    """A confidence and how far it can be trusted. Intervals: 95 %, bootstrap over images."""

    confidence: str
    """The read-out, `vote share`, `votes, smoothed`, `mean over chains` or `control, HEAD`."""
    scaled: bool
    """With temperature scaling."""
    top1: float
    """In percent."""
    ece: float
    """In percent, 15 bins."""
    ece_low: float
    ece_high: float
    nll: float
    """In nats; a probability of 0 counts as 1e-12."""
    brier: float
    aurc: float
    """Area under the risk-coverage curve: mean risk over all coverages, in percent."""
    aurc_low: float
    aurc_high: float
    risk80: float
    """Wrong ones among the 80 % surest images, in percent."""
    set_size: float
    """Mean number of classes in the smallest set that holds 90 % of the probability."""
    set_coverage: float
    """Labels that lie in that set, in percent."""
    count: int
    """Images."""
    temperatures: list[float]
    """One, or of two halves, each the one that its images are scaled by; empty if unscaled."""
    reliability: list[Bin]
    """Bins of the calibration error; the last holds a confidence of exactly 1."""
    risk_coverage: list[Risk]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A score of the vote share minus that of a confidence without chains, paired by image."""

    against: str
    scaled: bool
    """The other one is temperature scaled; the votes never are."""
    score: str
    """`ece` or `aurc`, in percent; lower is better."""
    difference: float
    low: float
    high: float
    n: int
    """Images."""
    verdict: Verdict
    """Of the vote share."""


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What `addkit evaluate --uncertainty` finds."""

    chains: int
    steps: int
    temperature_from: str
    """What the temperatures were fitted on, by the NLL."""
    rows: list[ConfidenceRow]
    comparisons: list[Comparison]
    """Two for each other confidence: of its `ece`, then of its `aurc`."""


def chains_of(way: Inference, chains: int | None) -> Inference:
    """The chains whose votes are counted, read at their last step; 20 steps where `way` has one."""
    steps = way.steps if way.steps > 1 else LOOP
    if chains == 1:
        raise UsageError("one chain has no votes to count; give --chains 2 or more")
    return way.replace(read_out="last", chains=chains or CHAINS, steps=steps, early_exit=0)


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
    way: Inference,
    chains: int | None,
    seed: int,
    draws: int = 2000,
) -> Uncertainty:
    """Score every confidence, as it is and temperature scaled.

    Args:
        predictor: of one label.
        controls: by their heads.
        source: the data. The temperature is fitted on its validation split, or where there is
            none (or it is the one scored) on every other image for the rest, both ways round.
        split: which images.
        way: to answer; its chains are `chains_of` it.
        chains: S; None: 10.
        seed: of all noise, and of the bootstrap.
        draws: of the bootstrap.

    Raises:
        DataError: fewer than two images.
    """
    images, loops = source.split(split), chains_of(way, chains)
    if len(images) < 2:
        raise DataError(f"{len(images)} images have no spread; --uncertainty needs at least 2")
    models = _Models(predictor, controls, way, loops, seed)
    tested = models.answer(images)
    apart = "validation" in source.facts.split_sizes and split != "validation"
    held = models.answer(source.split("validation")) if apart else None
    told = dict(_confidences(tested, held))
    scores = resampled({name: one.confidence for name, one in told.items()}, seed, draws)
    return Uncertainty(
        loops.chains,
        loops.steps,
        "the validation split" if apart else f"the other half of the {split} split",
        [_row(one, tested.labels, scores) for one in told.values()],
        list(_comparisons(told.values(), scores)),
    )


@dataclass(frozen=True, slots=True)
class _Answered:
    """Class probabilities (n, K) by the name of the confidence, and the labels (n,)."""

    probabilities: dict[str, Tensor]
    labels: Tensor


@dataclass(frozen=True, slots=True)
class _Models:
    """Everything that answers, and how."""

    predictor: Predictor
    controls: Mapping[str, Predictor]
    way: Inference
    loops: Inference
    seed: int

    def answer(self, images: ImageSet) -> _Answered:
        """All confidences of a split."""
        cases = {self.way.read_out.name: Case(self.way), MEAN: Case(self.loops)}
        found = self._told(self.predictor, images, cases)
        chains, num_classes = self.loops.chains, self.predictor.facts.num_classes
        found[SMOOTHED] = (found[VOTES] * chains + 1 / num_classes) / (chains + 1)
        for head, control in self.controls.items():
            found |= self._told(control, images, {f"control, {head}": Case(control.inference)})
        return _Answered(found, images.labels.squeeze(1))

    def _told(
        self, predictor: Predictor, images: ImageSet, cases: dict[str, Case]
    ) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = defaultdict(list)
        told = answers(
            predictor.network,
            images,
            cases,
            batch_size=predictor.recipe.sampling.batch_size,
            seed=self.seed,
            workers=fitting_workers(predictor.recipe.distributed.workers, 1),
        )
        for name, answer, _ in told:
            parts[name].append(answer.probabilities.squeeze(1).float().clamp(0, 1).cpu())
            if name == MEAN:
                parts[VOTES].append(answer.votes.squeeze(1).float().cpu())
        return {name: torch.cat(part) for name, part in parts.items()}


@dataclass(frozen=True, slots=True)
class _Told:
    """One confidence of all images."""

    name: str
    probabilities: Tensor
    confidence: Confidence
    temperatures: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.name}, scaled" if self.temperatures else self.name


def _confidences(tested: _Answered, held: _Answered | None) -> Iterator[tuple[str, _Told]]:
    """Each confidence as it is, then scaled: but for votes, of which 0 has no logarithm."""
    for name, probabilities in tested.probabilities.items():
        plain = _Told(name, probabilities, Confidence.of(probabilities, tested.labels))
        yield plain.key, plain
        if name == VOTES:
            continue
        temperatures = _temperatures(name, tested, held)
        # Image i of two halves is scaled by temperature i % 2, of one by temperature 0.
        by_image = torch.tensor(temperatures)[torch.arange(len(probabilities)) % len(temperatures)]
        calm = tempered(probabilities, by_image)
        scaled = _Told(name, calm, Confidence.of(calm, tested.labels), temperatures)
        yield scaled.key, scaled


def _temperatures(name: str, tested: _Answered, held: _Answered | None) -> tuple[float, ...]:
    """Fitted on held-out images, or for each half on the other."""
    if held is not None:
        return (fit_temperature(held.probabilities[name], held.labels),)
    rows, labels = tested.probabilities[name], tested.labels
    return fit_temperature(rows[1::2], labels[1::2]), fit_temperature(rows[::2], labels[::2])


def _row(told: _Told, labels: Tensor, scores: Resampled) -> ConfidenceRow:
    meter = LabelMeter(told.probabilities.shape[1])
    meter.update(told.probabilities, labels)
    found, sets = meter.compute(), credible_sets(told.probabilities, labels)
    ece, aurc = scores.interval(told.key)
    return ConfidenceRow(
        confidence=told.name,
        scaled=bool(told.temperatures),
        top1=found.top1,
        ece=ece.mean,
        ece_low=max(0.0, ece.low),
        ece_high=ece.high,
        nll=found.nll,
        brier=found.brier,
        aurc=aurc.mean,
        aurc_low=max(0.0, aurc.low),
        aurc_high=aurc.high,
        risk80=told.confidence.risk(0.8),
        set_size=sets.size,
        set_coverage=sets.coverage,
        count=found.count,
        temperatures=list(told.temperatures),
        reliability=told.confidence.reliability(),
        risk_coverage=[
            Risk(k / CURVE, told.confidence.risk(k / CURVE)) for k in range(1, CURVE + 1)
        ],
    )


def _comparisons(told: Iterable[_Told], scores: Resampled) -> Iterator[Comparison]:
    for one in told:
        if one.name in (VOTES, SMOOTHED, MEAN):
            continue
        for score, found in zip(SCORES, scores.interval(VOTES, one.key), strict=True):
            yield Comparison(
                against=one.name,
                scaled=bool(one.temperatures),
                score=score,
                difference=found.mean,
                low=found.low,
                high=found.high,
                n=found.n,
                verdict=verdict(found, higher_is_better=False),
            )
