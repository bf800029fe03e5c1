"""Images named in a table, with columns beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from addkit.data.augmentation import Augmenter
from addkit.data.folders import Listing
from addkit.data.shards import open_store
from addkit.data.side_inputs import SideInputsImages, picked
from addkit.data.source import Source, hold_out
from addkit.data.tables import CsvTable, read_csv
from addkit.errors import DataError, guess
from addkit.plugin.facts import Column, DataFacts, SideInputs
from addkit_metadata import ImageTableConfig
from addkit_metadata.columns import Cells, learn_columns, side_inputs_of

SPLITS = ("train", "validation", "test")


class ImageTable(Source):
    """Your own images. Building reads the table; opening a split verifies its images once."""

    def __init__(self, config: ImageTableConfig) -> None:
        """Raises `DataError` for a table that cannot be used."""
        self._config = config
        file = config.file.expanduser()
        self._root = config.root.expanduser() if config.root else file.parent
        self._store = open_store(self._root)
        self._table = read_csv(self._store.file(file), config.separator)
        self.side_files = (self._table.path,)
        self._paths = _paths(self._table, config, self._root)
        self._names, self._labels = _labels(self._table, config)
        self._splits = _splits(self._table, config, self._labels, self._paths)
        self._side_inputs, columns = self._columns()
        self._verified: dict[str, Sequence[int]] = {}
        super().__init__(self._facts(columns))

    def _columns(self) -> tuple[Mapping[str, SideInputs], tuple[Column, ...]]:
        config, path = self._config, self._table.path
        cells = _cells(self._table, config)
        train = self._splits["train"]
        columns = learn_columns([one.at(train) for one in cells], config.columns, path)
        side_inputs = {
            name: side_inputs_of(
                columns, [one.at(rows) for one in cells], path, config.unknown_categories
            )
            for name, rows in self._splits.items()
        }
        return side_inputs, tuple(columns)

    def _facts(self, columns: tuple[Column, ...]) -> DataFacts:
        config = self._config
        return DataFacts(
            num_classes=len(self._names),
            class_names=self._names,
            image_size=config.image_size,
            image_channels=config.image_channels,
            mean=config.mean,
            std=config.std,
            shorter_side=config.image_size,
            split_sizes={name: len(rows) for name, rows in self._splits.items()},
            files=self._store.reads((self._table.path,)),
            columns=columns,
        )

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        if name not in self._verified:
            self._verified[name] = self._sound(name)
        kept = self._verified[name]
        rows = [self._splits[name][position] for position in kept]
        labels = torch.tensor([[self._labels[row]] for row in rows])
        paths = [self._paths[row] for row in rows]
        images = self._store.images(paths, labels, self.pixels, augmenter)
        return SideInputsImages(images, picked(self._side_inputs[name], kept))

    def _sound(self, name: str) -> Sequence[int]:
        """Positions in the split whose image is readable."""
        skip = self._config.bad_files == "skip"
        others = [self._listing(rows) for split, rows in self._splits.items() if split != name]
        listing = self._listing(self._splits[name])
        return self._store.sound(listing, self._table.path, skip, others).labels

    def _listing(self, rows: Sequence[int]) -> Listing:
        return Listing(tuple(self._paths[row] for row in rows), tuple(range(len(rows))))


def _paths(table: CsvTable, config: ImageTableConfig, root: Path) -> list[str]:
    column = table.column(config.image_column, "image_column")
    paths = [str(root / row.cells[column]) for row in table.rows]
    for row in table.rows:
        if not row.cells[column]:
            raise DataError(
                f'{table.location(row)}: no image file in column "{config.image_column}".'
            )
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        row = table.rows[len(paths) - 1 - paths[::-1].index(twice[0])]
        raise DataError(
            f"{table.location(row)}: {twice[0]} stands there twice. Keep one of the rows."
        )
    return paths


def _labels(table: CsvTable, config: ImageTableConfig) -> tuple[tuple[str, ...], list[int]]:
    column = table.column(config.label_column, "label_column")
    for row in table.rows:
        if row.cells[column] in config.missing:
            raise DataError(f'{table.location(row)}: no label in column "{config.label_column}".')
    values = [row.cells[column] for row in table.rows]
    names = tuple(sorted(set(values)))
    if len(names) < 2:
        raise DataError(f'{table.path}: column "{config.label_column}" has fewer than two labels.')
    return names, [names.index(value) for value in values]


def _cells(table: CsvTable, config: ImageTableConfig) -> list[Cells]:
    taken = {config.image_column, config.label_column, config.split_column, ""}
    names = list(config.columns) or [name for name in table.columns if name not in taken]
    lines = [row.line for row in table.rows]
    cells = []
    for name in names:
        column = table.column(name, "columns")
        values = [row.cells[column] for row in table.rows]
        cells.append(Cells(name, [None if v in config.missing else v for v in values], lines))
    return cells


def _splits(
    table: CsvTable, config: ImageTableConfig, labels: Sequence[int], paths: Sequence[str]
) -> Mapping[str, Sequence[int]]:
    rows = list(range(len(labels)))
    splits = {"train": rows}
    if config.split_column:
        splits = _given(table, config)
    shares = {"validation": config.validation}
    if not config.split_column:
        shares = {"test": config.test_share, **shares}
    for purpose, share in shares.items():
        if share:
            pool = splits["train"]
            names = [Path(paths[row]).name for row in pool]
            own = [labels[row] for row in pool]
            kept, held = hold_out(own, names, share, config.split_seed, purpose)
            splits |= {"train": [pool[i] for i in kept], purpose: [pool[i] for i in held]}
    return splits


def _given(table: CsvTable, config: ImageTableConfig) -> dict[str, list[int]]:
    column = table.column(config.split_column, "split_column")
    splits: dict[str, list[int]] = {"train": [], "test": []}
    for number, row in enumerate(table.rows):
        name = row.cells[column]
        if name not in SPLITS:
            raise DataError(
                f'{table.location(row)}: "{name}" in column "{config.split_column}" is no split'
                f"{guess(name, SPLITS)}; allowed: {', '.join(SPLITS)}."
            )
        splits.setdefault(name, []).append(number)
    for name, members in splits.items():
        if not members:
            raise DataError(f'{table.path}: no row has "{name}" in column "{config.split_column}".')
    return splits
