"""A table of sentences, labels and, perhaps, images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from addkit.data.augmentation import Augmenter
from addkit.data.folders import FolderStore, Listing
from addkit.data.image_sets import Bitmaps, FileImages, MemoryImages
from addkit.data.side_inputs import SideInputsImages
from addkit.data.source import Source, hold_out
from addkit.data.tables import CsvTable, read_csv
from addkit.errors import DataError
from addkit.plugin.facts import Column, DataFacts
from addkit.plugin.protocols import ImageSet
from addkit_text import TableTextConfig

GREY = 128
"""Every pixel of the image where there is none."""


class TableText(Source):
    """Sentences of your own. Without a column of images each row has the same grey one."""

    def __init__(self, config: TableTextConfig) -> None:
        """Raises `DataError` for a table that cannot be used."""
        self._config = config
        self._table = read_csv(config.file.expanduser(), config.separator)
        self._texts = _cells(self._table, config.text_column, "text_column")
        self._names, self._labels = _labels(self._table, config)
        self._paths = _paths(self._table, config)
        self._splits = _splits(config, self._labels, self._paths)
        super().__init__(
            DataFacts(
                num_classes=len(self._names),
                class_names=self._names,
                image_size=config.image_size,
                image_channels=config.image_channels,
                mean=config.mean,
                std=config.std,
                shorter_side=config.image_size,
                split_sizes={name: len(rows) for name, rows in self._splits.items()},
                files=(self._table.path,),
                columns=(Column(config.text_column, "text"),),
            )
        )

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        rows = self._splits[name]
        if self._config.image_column:
            rows = self._sound(name)
        labels = torch.tensor([[self._labels[row]] for row in rows])
        images = self._images(rows, labels, augmenter)
        texts = tuple(self._texts[row] for row in rows)
        return SideInputsImages(images, {self._config.text_column: texts})

    def _images(self, rows: Sequence[int], labels: torch.Tensor, augmenter: Augmenter) -> ImageSet:
        paths = [self._paths[row] for row in rows]
        if self._config.image_column:
            return FileImages(paths, labels, self.pixels, augmenter)
        grey = torch.full((1, 1, 1, 1), GREY, dtype=torch.uint8)
        size = self._config.image_size
        pixels = grey.expand(len(rows), self._config.image_channels, size, size)
        return MemoryImages(Bitmaps(pixels, 255, labels, tuple(paths)), self.pixels, augmenter)

    def _sound(self, name: str) -> Sequence[int]:
        rows = self._splits[name]
        listing = Listing(tuple(self._paths[row] for row in rows), tuple(rows))
        skip = self._config.bad_files == "skip"
        store = FolderStore(self._table.path.parent)
        return store.sound(listing, self._table.path, skip).labels


def _cells(table: CsvTable, name: str, key: str) -> list[str]:
    column = table.column(name, key)
    return [row.cells[column] for row in table.rows]


def _labels(table: CsvTable, config: TableTextConfig) -> tuple[tuple[str, ...], list[int]]:
    values = _cells(table, config.label_column, "label_column")
    for row, value in zip(table.rows, values, strict=True):
        if not value:
            raise DataError(f'{table.location(row)}: no label in column "{config.label_column}".')
    names = tuple(sorted(set(values)))
    if len(names) < 2:
        raise DataError(f'{table.path}: column "{config.label_column}" has fewer than two labels.')
    return names, [names.index(value) for value in values]


def _paths(table: CsvTable, config: TableTextConfig) -> list[str]:
    """Of the images; without them, where each row stands."""
    if not config.image_column:
        return [table.location(row) for row in table.rows]
    root = config.root.expanduser() if config.root else table.path.parent
    return [str(root / name) for name in _cells(table, config.image_column, "image_column")]


def _splits(
    config: TableTextConfig, labels: Sequence[int], names: Sequence[str]
) -> dict[str, Sequence[int]]:
    splits = {"train": list(range(len(labels)))}
    for purpose, share in (("test", config.test_share), ("validation", config.validation)):
        if share:
            pool = splits["train"]
            own = [labels[row] for row in pool]
            called = [f"{row} {names[row].rpartition('/')[2]}" for row in pool]
            kept, held = hold_out(own, called, share, config.split_seed, purpose)
            splits |= {"train": [pool[i] for i in kept], purpose: [pool[i] for i in held]}
    return dict(splits)
