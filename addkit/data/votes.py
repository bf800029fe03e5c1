"""Annotators' votes on attributes, how often each is wrong, and the evidence that follows."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from addkit.data.tables import CsvRow, CsvTable, read_csv
from addkit.errors import DataError, UsageError, guess
from addkit.plugin.spec import Problem
from addkit.tasks.evidence import attribute_index, value_index

Confusions: TypeAlias = "Mapping[tuple[str, str], Tensor]"
"""(annotator, attribute) -> p(answer | true value), (values, values); rows are true values."""
_RATES = ("annotator", "accuracy")
_MATRIX = ("annotator", "attribute", "true", "answer", "probability")


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotator's answer on one attribute of one image."""

    image: Path
    annotator: str
    attribute: str
    answer: int
    """Position among the attribute's values."""


def read_votes(path: Path, problem: Problem) -> list[Vote]:
    """Votes of a CSV with the columns `image` (paths relative to the file), `annotator`, and one
    for each attribute; empty cells are no vote.

    Raises:
        DataError: a broken file, an unknown column or value, or an annotator who answers twice;
            names file and line.
    """
    table = read_csv(path, ",", "image", "annotator")
    image, annotator = (_column(table, name) for name in ("image", "annotator"))
    attributes = {
        place: name for place, name in enumerate(table.columns) if place not in (image, annotator)
    }
    try:
        for name in attributes.values():
            attribute_index(problem, name)
    except UsageError as error:
        raise DataError(f"{path}:1: {error}") from None
    votes, seen = [], dict[tuple[Path, str], int]()
    for row in table.rows:
        file = _resolved(path.parent / row.cells[image])
        key = file, row.cells[annotator]
        if key in seen:
            raise DataError(
                f'{table.location(row)}: "{key[1]}" has answered on {row.cells[image]} in line '
                f"{seen[key]} already; a second answer is no second opinion"
            )
        seen[key] = row.line
        for place, name in attributes.items():
            if answer := row.cells[place]:
                number = _value(table, row, problem, name, answer)
                votes.append(Vote(file, row.cells[annotator], name, number))
    return votes


def read_confusions(path: Path, problem: Problem) -> dict[tuple[str, str], Tensor]:
    """How often each annotator is right or wrong, of a CSV.

    Either with the columns annotator, accuracy and perhaps attribute (empty: all), errors being
    spread evenly, or with annotator, attribute, true, answer and probability, where answers that
    are not listed share the rest. Raises `DataError` for anything else; names file and line.
    """
    table = read_csv(path, ",", "annotator")
    columns = set(table.columns)
    wanted = _MATRIX if "true" in columns else _RATES
    places = {name: _column(table, name) for name in wanted}
    number = places["probability" if "true" in columns else "accuracy"]
    listed: dict[tuple[str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    confusions = {}
    for row in table.rows:
        where, who = table.location(row), row.cells[places["annotator"]]
        try:
            probability = float(row.cells[number])
        except ValueError:
            probability = -1.0
        if not 0 <= probability <= 1:
            raise DataError(f'{where}: "{row.cells[number]}" is no probability from 0 to 1')
        if "true" not in columns:
            own = row.cells[table.columns.index("attribute")] if "attribute" in columns else ""
            names = (own,) if own else problem.token_names
            for name in names:
                start, stop = problem.token_classes[_attribute(where, problem, name)]
                confusions[who, name] = _symmetric(stop - start, probability)
            continue
        name = row.cells[places["attribute"]]
        _attribute(where, problem, name)
        pair = [_value(table, row, problem, name, row.cells[places[x]]) for x in ("true", "answer")]
        listed[who, name][pair[0], pair[1]] = probability
    for (who, name), cells in listed.items():
        start, stop = problem.token_classes[attribute_index(problem, name)]
        matrix = torch.full((stop - start, stop - start), -1.0)
        for (true, answer), probability in cells.items():
            matrix[true, answer] = probability
        for true, values in enumerate(matrix):
            rest, missing = 1 - float(values.clamp_min(0).sum()), values < 0
            if rest < -1e-6 or (rest > 1e-6 and not missing.any()):
                value = problem.class_names[start + true]
                raise DataError(
                    f'{path}: answers of "{who}" on {name} = {value} sum to {1 - rest:g}, not 1'
                )
            values[missing] = max(rest, 0.0) / max(int(missing.sum()), 1)
        confusions[who, name] = matrix
    return confusions


def estimated_confusions(
    votes: Sequence[Vote], problem: Problem, steps: int = 100
) -> dict[tuple[str, str], Tensor]:
    r"""Confusions of annotators from their votes alone, by the EM of Dawid and Skene (1979).

    Attribute by attribute, from the shares of votes as first posteriors of the images:

    .. math::
        C_a[k, l] = \frac{1/K + \sum_{i} p_i(k)\, 1(a \text{ answers } l \text{ on } i)}
                         {1 + \sum_{i} p_i(k)}, \qquad
        p_i(k) \propto \pi(k) \prod_a C_a[k, l_{a,i}]

    The extra vote, spread evenly, is there because few votes prove no answer impossible.
    """
    confusions: dict[tuple[str, str], Tensor] = {}
    for token, name in enumerate(problem.token_names):
        own = [vote for vote in votes if vote.attribute == name]
        if not own:
            continue
        start, stop = problem.token_classes[token]
        size = stop - start
        images = {image: row for row, image in enumerate(dict.fromkeys(v.image for v in own))}
        people = {who: row for row, who in enumerate(dict.fromkeys(v.annotator for v in own))}
        image = torch.tensor([images[vote.image] for vote in own])  # (V,) each
        who = torch.tensor([people[vote.annotator] for vote in own])
        answers = one_hot(torch.tensor([vote.answer for vote in own]), size).double()  # (V, K)
        posterior = torch.zeros(len(images), size, dtype=torch.float64).index_add(0, image, answers)
        posterior = posterior / posterior.sum(1, keepdim=True)
        matrices = torch.zeros(0)
        for _ in range(steps):
            # (V, K true, K answered), summed over the votes of each annotator.
            pairs = posterior[image].unsqueeze(2) * answers.unsqueeze(1)
            counts = torch.full((len(people), size, size), 1 / size, dtype=torch.float64)
            counts = counts.index_add(0, who, pairs)
            matrices = counts / counts.sum(2, keepdim=True)
            prior = posterior.mean(0).clamp_min(1e-12).log()
            likelihoods = (matrices[who].log() * answers.unsqueeze(1)).sum(2)  # (V, K)
            scores = prior.expand(len(images), -1).index_add(0, image, likelihoods)
            posterior = scores.softmax(1)
        confusions |= {(each, name): matrices[row].float() for each, row in people.items()}
    return confusions


def evidence_of(
    votes: Sequence[Vote], confusions: Confusions, problem: Problem
) -> dict[Path, Tensor]:
    """Log-likelihoods (N, K) of the votes on each image; annotators err independently.

    Raises `DataError` for an annotator of unknown error rate.
    """
    evidence: dict[Path, Tensor] = {}
    shape = (len(problem.token_names), problem.num_classes)
    for vote in votes:
        matrix = confusions.get((vote.annotator, vote.attribute))
        if matrix is None:
            known = {who for who, _ in confusions}
            raise DataError(
                f'no error rate of the annotator "{vote.annotator}" on {vote.attribute}'
                f"{guess(vote.annotator, known - {vote.annotator})}"
            )
        token = attribute_index(problem, vote.attribute)
        start, stop = problem.token_classes[token]
        own = evidence.setdefault(vote.image, torch.zeros(shape))
        # The floor keeps what is impossible finite.
        own[token, start:stop] += matrix[:, vote.answer].clamp_min(1e-30).log()
    return evidence


def of_image(evidence: Mapping[Path, Tensor], name: str) -> Tensor | None:
    """The evidence of an image file, by its resolved path."""
    return evidence.get(_resolved(Path(name)))


def _resolved(path: Path) -> Path:
    # realpath: `Path.resolve` raises for a loop of links.
    return Path(os.path.realpath(path))


def _symmetric(size: int, accuracy: float) -> Tensor:
    matrix = torch.full((size, size), (1 - accuracy) / max(size - 1, 1))
    matrix.fill_diagonal_(accuracy)
    return matrix


def _column(table: CsvTable, name: str) -> int:
    if name not in table.columns:
        raise DataError(
            f'{table.path}:1: no column "{name}"{guess(name, table.columns)}; there are: '
            f"{', '.join(table.columns)}"
        )
    return table.columns.index(name)


def _attribute(where: str, problem: Problem, name: str) -> int:
    try:
        return attribute_index(problem, name)
    except UsageError as error:
        raise DataError(f"{where}: {error}") from None


def _value(table: CsvTable, row: CsvRow, problem: Problem, name: str, value: str) -> int:
    """The position of a value among those of its attribute."""
    try:
        start, _ = problem.token_classes[attribute_index(problem, name)]
        return value_index(problem, name, value) - start
    except UsageError as error:
        raise DataError(f"{table.location(row)}: {error}") from None
