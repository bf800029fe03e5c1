"""Attributes of images as tokens: their values are classes of one shared vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor

from addkit.data.settings import DataConfig
from addkit.data.source import facts_of
from addkit.plugin.values import MISSING, DataFacts


@dataclass(frozen=True, slots=True)
class Row:
    """One image and the values of its attributes."""

    name: str
    """Its file, as the table or the archive names it."""
    location: str
    """Such as `photos.csv:12`, for messages."""
    values: tuple[str | None, ...]
    """The value of each attribute; None where it is unknown."""

    @property
    def parts(self) -> frozenset[str]:
        """Each value with its attribute: these must stay in train if this image is held out."""
        pairs = enumerate(self.values)
        return frozenset(f"{n} {value}" for n, value in pairs if value is not None)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The vocabulary: the values of the first attribute, then those of the second, and so on."""

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    """The values of each attribute, sorted."""

    @classmethod
    def learn(cls, names: Sequence[str], rows: Sequence[Row]) -> Attributes:
        """The vocabulary of these (training) rows."""
        # Sorted, so that class ids do not depend on the order of the rows.
        columns = zip(*(row.values for row in rows), strict=True)
        values = (sorted({value for value in column if value is not None}) for column in columns)
        return cls(tuple(names), tuple(map(tuple, values)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """All K values, by class id."""
        return tuple(value for values in self.values for value in values)

    @property
    def token_classes(self) -> tuple[tuple[int, int], ...]:
        """The classes [start, stop) of each attribute."""
        # Sizes -> boundaries -> pairs of neighbouring boundaries.
        return tuple(pairwise(accumulate(map(len, self.values), initial=0)))

    def unknown(self, row: Row) -> list[int]:
        """The attributes whose value in this row is not in the vocabulary."""
        pairs = enumerate(zip(row.values, self.values, strict=True))
        return [n for n, (value, values) in pairs if value is not None and value not in values]

    def labels(self, rows: Sequence[Row]) -> Tensor:
        """Class ids (n, N); `MISSING` for values that are unknown or not in the vocabulary."""
        # By attribute: the same value of two attributes is two classes. None is in no dictionary.
        ids: list[dict[str | None, int]] = [
            {value: start + number for number, value in enumerate(values)}
            for (start, _), values in zip(self.token_classes, self.values, strict=True)
        ]
        table = [[ids[n].get(v, MISSING) for n, v in enumerate(row.values)] for row in rows]
        return torch.tensor(table, dtype=torch.int64).reshape(-1, len(self.names))

    def missing(self, rows: Sequence[Row]) -> list[int]:
        """The number of `MISSING` labels of each attribute."""
        counts: list[int] = (self.labels(rows) == MISSING).sum(0).tolist()
        return counts


def joint_facts(
    config: DataConfig,
    attributes: Attributes,
    splits: Mapping[str, Sequence[Row]],
    files: tuple[Path, ...],
) -> DataFacts:
    """Facts of a data set whose tokens are attributes.

    `notes` count, by split and attribute, the labels that are `MISSING`, where there are some.
    """
    labels = attributes.labels(splits["train"])  # (n, N)
    complete = labels[(labels != MISSING).all(1)]
    return facts_of(
        config,
        num_classes=len(attributes.class_names),
        class_names=attributes.class_names,
        split_sizes={name: len(rows) for name, rows in splits.items()},
        files=files,
        num_tokens=len(attributes.names),
        token_names=attributes.names,
        token_classes=attributes.token_classes,
        combinations=tuple(map(tuple, torch.unique(complete, dim=0).tolist())),
        notes={
            f"{split}_missing_{name}": count
            for split, rows in splits.items()
            for name, count in zip(attributes.names, attributes.missing(rows), strict=True)
            if count
        },
    )
