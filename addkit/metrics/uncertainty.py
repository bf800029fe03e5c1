"""Quality of a confidence: calibration, abstaining, credible sets, temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from addkit.metrics.classification import ECE_BINS
from addkit.metrics.statistics import Interval, basic_interval, resamples

COLDEST, HOTTEST = 0.05, 20.0
"""Range of a fitted temperature; answers that are all right would have it at 0."""
GOLDEN = (math.sqrt(5) - 1) / 2
ROUNDING = 1e-6
"""Rounding error of a sum of probabilities in single precision."""
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Bin:
    """Images whose confidence is in one of the equal bins of [0, 1]."""

    count: int
    confidence: float | None
    """Mean confidence, in [0, 1]; None for an empty bin."""
    accuracy: float | None
    """Share of right answers, in [0, 1]."""


class Confidence:
    """The confidence of each answer, and whether the answer is right.

    Methods that take `counts` (D, n), how often each image counts in each of D resamples, give D
    values; without, the one value of all images.

    Args:
        confidence: (n,) in [0, 1]. Equal ones are ties: every score is the mean over all orders of
            their images.
        right: (n,) bool.
    """

    def __init__(self, confidence: Tensor, right: Tensor) -> None:
        self.confidence, self.right = confidence.float(), right
        self.n = len(confidence)
        # torchmetrics' bins: [0, 1/15), ..., [14/15, 1), and a bin for exactly 1.
        edges = torch.linspace(0, 1, ECE_BINS + 1)
        self._bins = torch.bucketize(self.confidence, edges, right=True) - 1
        # Prepared here, so that the error of a resample is one product with its counts. In fp64:
        # sums over a large split, of terms that nearly cancel.
        gaps = self.confidence.double() - right.double()
        self._gaps = _by_bin(gaps, self._bins)  # (n, 16)
        self._order = confidence.argsort(descending=True, stable=True)
        # Ties are one group: the order within it must not change a score.
        ordered = confidence[self._order]
        last = torch.ones(self.n, dtype=torch.bool)
        last[:-1] = ordered[:-1] != ordered[1:]
        self._ends = last.nonzero().squeeze(1)  # (G,): the last image of each group
        whole = torch.arange(1, self.n + 1, dtype=torch.float64)
        # (n + 1,): H_0 = 0, H_1, ..., H_n.
        self._harmonic = torch.cat([torch.zeros(1).double(), whole.reciprocal().cumsum(0)])

    @classmethod
    def of(cls, probabilities: Tensor, labels: Tensor) -> Confidence:
        """The largest probability of each row (n, K) against class ids (n,)."""
        best = probabilities.max(1)
        return cls(best.values, best.indices == labels)

    def ece(self, counts: Tensor | None = None) -> Tensor:
        r"""Expected calibration error in percent, (D,) (Guo et al. 2017), 15 bins.

        .. math:: \sum_b \frac{n_b}{n} |\mathrm{accuracy}_b - \mathrm{confidence}_b|
        """
        # n_b (confidence_b - accuracy_b) of each bin: the weight n_b / n has cancelled.
        gaps = self._counts(counts) @ self._gaps  # (D, 16)
        return 100 * gaps.abs().sum(1) / self.n

    def aurc(self, counts: Tensor | None = None) -> Tensor:
        r"""Area under the risk-coverage curve in percent, (D,) (Geifman et al. 2019).

        .. math:: \frac1n \sum_{i=1}^n \frac{\mathrm{errors\ among\ the\ } i
            \mathrm{\ surest}}{i}

        A group of g ties with error rate e behind N images with E errors adds
        sum_j (E + j e) / (N + j) = g e + (E - N e) (H_{N+g} - H_N), H the harmonic numbers.
        """
        images, errors = self._groups(self._counts(counts))
        size, rate = images.diff(dim=1), _rates(images, errors)  # (D, G)
        before, wrong = images[:, :-1], errors[:, :-1]
        harmonic = self._harmonic[images.long()].diff(dim=1)  # A lookup instead of a sum over j.
        area = size * rate + (wrong - before * rate) * harmonic
        return 100 * area.sum(1) / self.n

    def risk(self, coverage: float) -> float:
        """Percent wrong among the most confident images, this share of all (rounded up)."""
        images, errors = (x[0] for x in self._groups(self._counts(None)))
        # 0.07 * 100 is 7.000000000000001: without the tolerance one image more would be taken.
        taken = math.ceil(coverage * self.n - ROUNDING)
        group = int(torch.searchsorted(images, taken)) - 1
        rate = _rates(images[None], errors[None])[0, group]
        # Only a part of the last group may be taken: it has the group's error rate.
        return 100 * float(errors[group] + (taken - images[group]) * rate) / taken

    def reliability(self) -> list[Bin]:
        """The bins of the calibration error, from the least confident."""
        # (16, 3): images, summed confidence and right answers of each bin.
        columns = [torch.ones(self.n), self.confidence, self.right]
        sums = torch.stack([_by_bin(x.double(), self._bins).sum(0) for x in columns], dim=1)
        return [
            Bin(int(count), sure / count, right / count) if count else Bin(0, None, None)
            for count, sure, right in sums.tolist()
        ]

    def _counts(self, counts: Tensor | None) -> Tensor:
        return torch.ones(1, self.n).double() if counts is None else counts.double()

    def _groups(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Images and errors up to each group of ties, by falling confidence, (D, G + 1)."""
        counts = counts[:, self._order]  # (D, n), by falling confidence
        wrong = counts * (~self.right[self._order])
        sums = [x.cumsum(1)[:, self._ends] for x in (counts, wrong)]
        # A leading 0, so that `diff` gives the groups' own numbers.
        images, errors = (torch.cat([torch.zeros(len(x), 1).double(), x], dim=1) for x in sums)
        return images, errors


def _rates(images: Tensor, errors: Tensor) -> Tensor:
    """Error rate of each group; 0 for a group without images."""
    # A resample may leave a group without any of its images.
    return errors.diff(dim=1) / images.diff(dim=1).clamp_min(1)


def _by_bin(values: Tensor, bins: Tensor) -> Tensor:
    """(n,) -> (n, 16), each value in its bin's column."""
    # The last column is the bin for exactly 1.
    columns = torch.zeros(len(values), ECE_BINS + 1, dtype=values.dtype)
    return columns.scatter(1, bins.unsqueeze(1), values.unsqueeze(1))


@dataclass(frozen=True, slots=True)
class Resampled:
    """Scores of several confidences on the same resamples of images."""

    values: dict[str, Tensor]
    """(2,) calibration error and area under the risk-coverage curve, for each name."""
    drawn: dict[str, Tensor]
    """The same of each resample, (draws, 2)."""
    images: int

    def interval(self, name: str, against: str | None = None) -> tuple[Interval, Interval]:
        """Intervals of ECE and AURC in percent, or of their differences to another confidence's.

        Differences are paired by image.
        """
        value, drawn = self.values[name], self.drawn[name]
        if against is not None:
            # On the same resamples: what both share, such as hard images, cancels.
            value, drawn = value - self.values[against], drawn - self.drawn[against]
        first, second = (
            basic_interval(float(value[k]), drawn[:, k], self.images) for k in range(2)
        )
        return first, second


def resampled(confidences: Mapping[str, Confidence], seed: int, draws: int = 2000) -> Resampled:
    """The bootstrap over images of ECE and AURC, the same draws for every confidence.

    Args:
        confidences: by name, of the same images in the same order.
        seed: random seed of the resampling.
        draws: resamples.
    """
    images = {each.n for each in confidences.values()}
    if len(images) != 1:
        raise ValueError(f"confidences of {sorted(images)} images; pairs need the same ones")
    n = images.pop()
    parts: dict[str, list[Tensor]] = {name: [] for name in confidences}
    for counts in resamples(n, seed, draws):
        # The same resample for all confidences, so that differences are paired by image.
        for name, confidence in confidences.items():
            parts[name].append(_both(confidence, counts))
    values = {name: _both(confidence, None)[0] for name, confidence in confidences.items()}
    return Resampled(values, {name: torch.cat(part) for name, part in parts.items()}, n)


def _both(confidence: Confidence, counts: Tensor | None) -> Tensor:
    return torch.stack([confidence.ece(counts), confidence.aurc(counts)], dim=1)  # (D, 2)


@dataclass(frozen=True, slots=True)
class CredibleSets:
    """The smallest sets of classes with a given share of the probability."""

    size: float
    """Mean number of classes in a set."""
    coverage: float
    """Share of images whose label is in its set, in percent."""


def credible_sets(probabilities: Tensor, labels: Tensor, mass: float = 0.9) -> CredibleSets:
    """Size and coverage of the sets {most probable classes up to `mass`} (Romano et al. 2020).

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) class ids.
        mass: in (0, 1]. Of equally probable classes the first ones are taken.
    """
    # Some rows at a time: sorting all of (n, K) in fp64 would fill the memory for many classes.
    sizes, inside = [], []
    parts = [torch.split(x, ROWS_AT_ONCE) for x in (probabilities, labels)]
    for rows, truth in zip(*parts, strict=True):
        # Stable, so that ties are taken in the order of the classes on every machine.
        ordered = rows.double().sort(dim=1, descending=True, stable=True)
        # A class is taken if those before it have less than the mass.
        before = ordered.values.cumsum(1) - ordered.values
        taken = before < mass - ROUNDING
        sizes.append(taken.sum(1))
        inside.append((taken & (ordered.indices == truth.unsqueeze(1))).any(1))
    return CredibleSets(
        size=float(torch.cat(sizes).double().mean()),
        coverage=100 * float(torch.cat(inside).double().mean()),
    )


def tempered(probabilities: Tensor, temperature: float | Tensor) -> Tensor:
    r"""p_k^{1/T} / sum_j p_j^{1/T}: the softmax of logits divided by T (Guo et al. 2017).

    Args:
        probabilities: (n, K); 0 counts as the smallest normal number.
        temperature: a number for all rows, or one for each row (n,).
    """
    if isinstance(temperature, Tensor):
        temperature = temperature.unsqueeze(1)  # (n, 1)
    return (_logs(probabilities) / temperature).softmax(1)


def _logs(probabilities: Tensor) -> Tensor:
    return probabilities.float().clamp_min(torch.finfo(torch.float32).tiny).log()


def fit_temperature(probabilities: Tensor, labels: Tensor, tolerance: float = 1e-4) -> float:
    r"""The T in [0.05, 20] with the least -mean log p_y(T), by golden-section search in log T.

    The NLL is convex in 1/T, so it has one minimum. Raises `ValueError` if there are no images.

    Args:
        probabilities: (n, K), n >= 1.
        labels: (n,) class ids.
        tolerance: width of the bracket of log T at which the search ends.
    """
    if not len(labels):
        raise ValueError("no images to fit a temperature on")
    logs = _logs(probabilities)

    # In log T, so that 0.05 to 1 and 1 to 20 get the same share of the search.
    def nll(log_t: float) -> float:
        return float(functional.cross_entropy(logs / math.exp(log_t), labels))

    return math.exp(_lowest(nll, math.log(COLDEST), math.log(HOTTEST), tolerance))


def _lowest(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """The argument at a function's only minimum, by golden-section search."""
    # Each step shrinks the bracket by the golden ratio, which lets one of the two inner points and
    # its value be used again: one call of the function a step.
    first, second = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_first, at_second = function(first), function(second)
    while high - low > tolerance:
        if at_first <= at_second:
            high, second, at_second = second, first, at_first
            first = high - GOLDEN * (high - low)
            at_first = function(first)
        else:
            low, first, at_first = first, second, at_second
            second = low + GOLDEN * (high - low)
            at_second = function(second)
    return (low + high) / 2
