"""A table of sentences, labels and, perhaps, images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from addkit.data.augmentation import Augmenter
from addkit.data.folders import FolderStore, Listing
from addkit.data.image_sets import Bitmaps, FileImages, MemoryImages
from addkit.data.overview import Contents, numbers_doubt
from addkit.data.side_inputs import SideInputsImages
from addkit.data.source import Source, facts_of, hold_out_splits
from addkit.data.tables import CsvTable, ImageNames, read_csv
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import Column
from addkit_text.settings import TableTextConfig

GREY = 128
"""Level of every pixel of a row without an image."""


class TableText(Source):
    """Your own sentences; without a column of images, each row has the same grey image."""

    def __init__(self, config: TableTextConfig) -> None:
        """Raises `DataError` for a table that cannot be used."""
        self._config = config
        file = config.file.expanduser()
        self._table = read_csv(file, config.separator, config.text_column)
        self._texts = self._table.cells(config.text_column, "text_column")
        self._names, self._labels = self._table.classes(config.label_column, "label_column")
        self._paths = _paths(self._table, config)
        # The row's number too: without images, rows have no file names that differ.
        names = [f"{row} {path.rpartition('/')[2]}" for row, path in enumerate(self._paths)]
        shares = {"test": config.test_share, "validation": config.validation}
        self._splits = hold_out_splits(self._labels, names, shares, config.split_seed)
        super().__init__(
            facts_of(
                config,
                num_classes=len(self._names),
                class_names=self._names,
                split_sizes={name: len(rows) for name, rows in self._splits.items()},
                files=(self._table.path,),
                columns=(Column(config.text_column, "text"),),
            )
        )

    def contents(self) -> Contents:
        """The rows' labels, and their images if they have some, unread."""
        splits = self._splits.items()
        paths = {name: [self._paths[row] for row in rows] for name, rows in splits}
        # (n, 1) each.
        labels = {
            name: torch.tensor([self._labels[row] for row in rows])[:, None]
            for name, rows in splits
        }
        doubts = numbers_doubt(self._table.path, self._config.label_column, self._names)
        store = FolderStore(self._table.path.parent)
        return Contents(store, paths if self._config.image_column else {}, labels, tuple(doubts))

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        rows: Sequence[int] = self._splits[name]
        if self._config.image_column:
            listing = Listing(tuple(self._paths[row] for row in rows), tuple(rows))
            store = FolderStore(self._table.path.parent)
            skip = self._config.bad_files == "skip"
            rows = store.sound(listing, self._table.path, skip).labels
        labels = torch.tensor([[self._labels[row]] for row in rows])  # (n, 1)
        images = self._images(rows, labels, augmenter)
        texts = tuple(self._texts[row] for row in rows)
        return SideInputsImages(images, {self._config.text_column: texts})

    def _images(self, rows: Sequence[int], labels: torch.Tensor, augmenter: Augmenter) -> ImageSet:
        paths = [self._paths[row] for row in rows]
        if self._config.image_column:
            return FileImages(paths, labels, self.pixels, augmenter)
        # Expanded rather than repeated, so that a million rows share one pixel of memory.
        grey = torch.full((1, 1, 1, 1), GREY, dtype=torch.uint8)
        size = self.pixels.image_size
        pixels = grey.expand(len(rows), self._config.image_channels, size, size)
        return MemoryImages(Bitmaps(pixels, 255, labels, tuple(paths)), self.pixels, augmenter)


def _paths(table: CsvTable, config: TableTextConfig) -> list[str]:
    """Image files by row; without a column of images, the location of each row."""
    if not config.image_column:
        return [table.location(row) for row in table.rows]
    root = config.root.expanduser() if config.root else table.path.parent
    images = ImageNames(table.path, FolderStore(root), root, "data.root")
    names = table.files(config.image_column, "image_column", images)
    locations = dict(zip(names, map(table.location, table.rows), strict=True))
    images.refuse_missing(locations, config.bad_files == "skip")
    return [str(root / name) for name in names]
