r"""How probably a recorded label is wrong, given the picture and the record's other labels.

A recorded label is the answer of an annotator who is wrong at a rate of its attribute, so it is
soft evidence (`addkit.plugin.protocols.Process`), spread evenly over the other values:

.. math:: L_n(k) = \log(1 - \epsilon_n)\ \text{for the recorded } k, \quad
    \log\frac{\epsilon_n}{K_n - 1}\ \text{for the others}

The model then gives p(y_n | picture, L). The rates start at 0.1 and become the mean probability
of being wrong.
"""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor

from addkit.data.settings import DataWarning
from addkit.errors import AddkitError
from addkit.model import Predictor
from addkit.repair.records import Record, Records
from addkit.runs.atomic import write_text

FIRST_RATE = 0.1
"""Share of wrong labels that is assumed before anything was examined."""
RATES = (0.005, 0.5)
"""Bounds of the estimated rates."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One recorded label with its probability of being wrong."""

    record: Record
    attribute: str
    recorded: str
    suggested: str
    """The most probable value; equal to the recorded one where that is."""
    wrong: float
    """Probability that the recorded value is wrong, in [0, 1]."""
    probability: float
    """Of the suggested value."""


def examined(
    predictor: Predictor,
    records: Records,
    rows: Sequence[Record],
    *,
    sampler: str | None = None,
    seed: int = 0,
) -> list[Suspicion]:
    """Every recorded label of these rows, in their order.

    Values that the model was not trained on, unknown ones and those of pictures that cannot be read
    are left out, with a warning.

    Args:
        predictor: a model of the table's attributes.
        records: of the table.
        rows: that are examined.
        sampler: that takes in the evidence; None: the process's own.
        seed: of a sampler that draws.
    """
    predictor.inference.with_evidence()  # Raises before anything is read.
    rates = torch.full((len(records.names),), FIRST_RATE)
    suspicions = list(_pass(predictor, records, rows, rates, sampler, seed, warn=True))
    for number, name in enumerate(records.names):
        own = [each.wrong for each in suspicions if each.attribute == name]
        if own:
            rates[number] = min(max(sum(own) / len(own), RATES[0]), RATES[1])
    return list(_pass(predictor, records, rows, rates, sampler, seed, warn=False))


def _pass(
    predictor: Predictor,
    records: Records,
    rows: Sequence[Record],
    rates: Tensor,
    sampler: str | None,
    seed: int,
    *,
    warn: bool,
) -> Iterator[Suspicion]:
    """The labels of these rows under these rates of errors, (N,)."""
    facts = predictor.facts
    places = [facts.token_names.index(name) for name in records.names]
    ranges = [facts.token_classes[place] for place in places]
    classes = [list(facts.class_names[start:stop]) for start, stop in ranges]

    def evidence() -> Iterator[Tensor]:
        for row in rows:
            likelihoods = torch.zeros(len(facts.token_names), facts.num_classes)
            for place, (start, stop), values, value, rate in zip(
                places, ranges, classes, row.values, rates.tolist(), strict=True
            ):
                if value in values and len(values) > 1:
                    likelihoods[place, start:stop] = math.log(rate / (len(values) - 1))
                    likelihoods[place, start + values.index(value)] = math.log(1 - rate)
            yield likelihoods

    images = (row.image for row in rows)
    answers = predictor.stream(
        images, evidence=evidence(), sampler=sampler, seed=seed, top=facts.num_classes
    )
    flat = (answer for batch in answers for answer in batch)
    unknown: dict[str, int] = {}
    for row, answer in zip(rows, flat, strict=True):
        if isinstance(answer, AddkitError):
            if warn:
                warnings.warn(f"left out {answer}", DataWarning, stacklevel=3)
            continue
        for name, values, value in zip(records.names, classes, row.values, strict=True):
            if value is None:
                continue
            if value not in values:
                unknown[f'{name} "{value}"'] = row.line
                continue
            shares = {score.name: score.probability for score in answer.marginals[name]}
            best = max(shares, key=shares.__getitem__)
            wrong = min(max(1 - shares.get(value, 0.0), 0.0), 1.0)
            yield Suspicion(row, name, value, best, wrong, shares[best])
    if unknown and warn:
        value, line = next(iter(unknown.items()))
        warnings.warn(
            f"{records.table.path}: {len(unknown)} values are unknown to the model, such as "
            f"{value} in line {line}; they are not examined",
            DataWarning,
            stacklevel=3,
        )


def ranked(suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    """The most suspicious first; equals stay in the order of the table."""
    ordered = sorted(suspicions, key=lambda each: (each.record.index, each.attribute))
    return sorted(ordered, key=lambda each: -each.wrong)


HEADINGS = ("rank", "row", "image", "column", "recorded", "suggested", "wrong", "probability")


def write_suspicions(path: Path, suspicions: Sequence[Suspicion]) -> None:
    """Write a CSV of all labels, the most suspicious first: `wrong` is the probability that the
    recorded value is wrong, `probability` that of the suggested one, `row` the line of the table.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS)
    for rank, each in enumerate(suspicions, 1):
        writer.writerow(
            [
                *(rank, each.record.line, each.record.image, each.attribute, each.recorded),
                *(each.suggested, f"{each.wrong:.6f}", f"{each.probability:.6f}"),
            ]
        )
    write_text(path, text.getvalue())
