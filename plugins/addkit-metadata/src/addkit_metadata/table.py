"""Images named in a table, with other columns as side inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from addkit.data.augmentation import Augmenter
from addkit.data.folders import Listing
from addkit.data.overview import Contents, numbers_doubt
from addkit.data.shards import open_store
from addkit.data.side_inputs import SideInputsImages, picked
from addkit.data.source import Source, facts_of, hold_out_splits
from addkit.data.tables import CsvTable, ImageNames, read_csv
from addkit.errors import DataError
from addkit.plugin.values import Column, SideInputs
from addkit_metadata.columns import Cells, learn_columns, side_inputs_of
from addkit_metadata.settings import ImageTableConfig


class ImageTable(Source):
    """Your own images. Building reads the table; opening a split verifies its images once."""

    def __init__(self, config: ImageTableConfig) -> None:
        """Raises `DataError` for a table that cannot be used."""
        self._config = config
        file = config.file.expanduser()
        self._root = config.root.expanduser() if config.root else file.parent
        self._store = open_store(self._root)
        self._table = read_csv(self._store.file(file), config.separator, config.image_column)
        self.side_files = (self._table.path,)
        images = ImageNames(self._table.path, self._store, self._root, "data.root")
        names = self._table.files(config.image_column, "image_column", images)
        locations = dict(zip(names, map(self._table.location, self._table.rows), strict=True))
        images.refuse_missing(locations, config.bad_files == "skip")
        self._paths = _paths(self._table, names, self._root)
        self._names, self._labels = self._table.classes(
            config.label_column, "label_column", config.missing
        )
        self._splits = _splits(self._table, config, self._labels, self._paths)
        self._side_inputs, columns = self._columns()
        self._verified: dict[str, Sequence[int]] = {}
        super().__init__(
            facts_of(
                config,
                num_classes=len(self._names),
                class_names=self._names,
                split_sizes={name: len(rows) for name, rows in self._splits.items()},
                files=self._store.reads((self._table.path,)),
                columns=columns,
            )
        )

    def _columns(self) -> tuple[Mapping[str, SideInputs], tuple[Column, ...]]:
        config, path = self._config, self._table.path
        cells = _cells(self._table, config)
        # From train alone: means, deviations and categories must not depend on held-out rows.
        train = self._splits["train"]
        columns = learn_columns([column.at(train) for column in cells], config.columns, path)
        side_inputs = {
            name: side_inputs_of(
                columns, [column.at(rows) for column in cells], path, config.unknown_categories
            )
            for name, rows in self._splits.items()
        }
        return side_inputs, tuple(columns)

    def contents(self) -> Contents:
        """The rows' images, unread."""
        splits = self._splits.items()
        paths = {name: [self._paths[row] for row in rows] for name, rows in splits}
        # (n, 1) each.
        labels = {
            name: torch.tensor([self._labels[row] for row in rows])[:, None]
            for name, rows in splits
        }
        doubts = numbers_doubt(self._table.path, self._config.label_column, self._names)
        return Contents(self._store, paths, labels, tuple(doubts))

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        if name not in self._verified:
            self._verified[name] = self._sound(name)
        sound = self._verified[name]
        rows = [self._splits[name][position] for position in sound]
        labels = torch.tensor([[self._labels[row]] for row in rows])  # (n, 1)
        paths = [self._paths[row] for row in rows]
        images = self._store.images(paths, labels, self.pixels, augmenter)
        return SideInputsImages(images, picked(self._side_inputs[name], sound))

    def _sound(self, name: str) -> Sequence[int]:
        """Positions in the split whose image is readable."""
        skip = self._config.bad_files == "skip"
        others = [self._listing(rows) for split, rows in self._splits.items() if split != name]
        listing = self._listing(self._splits[name])
        return self._store.sound(listing, self._table.path, skip, others).labels

    def _listing(self, rows: Sequence[int]) -> Listing:
        return Listing(tuple(self._paths[row] for row in rows), tuple(range(len(rows))))


def _paths(table: CsvTable, names: Sequence[str], root: Path) -> list[str]:
    paths = [str(root / name) for name in names]
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        row = table.rows[len(paths) - 1 - paths[::-1].index(twice[0])]
        raise DataError(f"{table.location(row)}: {twice[0]} is named twice. Keep one of the rows.")
    return paths


def _cells(table: CsvTable, config: ImageTableConfig) -> list[Cells]:
    taken = {config.image_column, config.label_column, config.split_column, ""}
    names = list(config.columns) or [name for name in table.columns if name not in taken]
    lines = [row.line for row in table.rows]
    cells = []
    for name in names:
        values = [None if v in config.missing else v for v in table.cells(name, "columns")]
        cells.append(Cells(name, values, lines))
    return cells


def _splits(
    table: CsvTable, config: ImageTableConfig, labels: Sequence[int], paths: Sequence[str]
) -> Mapping[str, Sequence[int]]:
    given = (
        table.splits(config.split_column, config.validation)
        if config.split_column
        else {"train": list(range(len(labels)))}
    )
    shares = {"test": 0.0 if config.split_column else config.test_share}
    shares["validation"] = config.validation
    # By the bare name, so that the split stays when the folder moves.
    names = [Path(path).name for path in paths]
    held = hold_out_splits(labels, names, shares, config.split_seed, given["train"])
    return {**given, **held}
