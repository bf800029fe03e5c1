"""The user's own images with tags, from a CSV file whose cells list them: `dog;grass;ball`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from addkit.data.folders import shortened
from addkit.data.listed_images import hold_out_listed
from addkit.data.settings import TagTableConfig
from addkit.data.shards import open_store
from addkit.data.tables import CsvTable, ImageNames, read_csv
from addkit.data.tags import TaggedImage, TaggedImages
from addkit.errors import DataError

_SEPARATORS = ";,|/"


class TagTable(TaggedImages):
    """Images named in a table that has a column of tags; an empty cell is an image without any."""

    def __init__(self, config: TagTableConfig) -> None:
        """Raises `DataError` for a table that cannot be used."""
        file = config.file.expanduser()
        root = config.root.expanduser() if config.root else file.parent
        store = open_store(root)
        table = read_csv(store.file(file), config.separator, config.image_column)
        self.side_files = (table.path,)
        names = ImageNames(table.path, store, root, "data.root")
        images = _images(table, config, names)
        splits: Mapping[str, Sequence[TaggedImage]]
        if config.split_column:
            given = table.splits(config.split_column, config.validation)
            splits = {name: [images[row] for row in part] for name, part in given.items()}
        else:
            splits = {"train": images}
        shares = {"test": 0 if config.split_column else config.test_share}
        for purpose, share in {**shares, "validation": config.validation}.items():
            if share:
                splits = hold_out_listed(table.path, splits, purpose, share, config.split_seed)
        super().__init__(config, store, root, table.path, splits, store.reads((table.path,)))
        names.refuse_missing(
            {image.name: image.location for image in images}, config.bad_files == "skip"
        )


def _images(table: CsvTable, config: TagTableConfig, names: ImageNames) -> list[TaggedImage]:
    files = table.files(config.image_column, "image_column", names)
    cells = table.cells(config.tag_column, "tag_column")
    _refuse_separator(table, cells, config)
    images: dict[str, TaggedImage] = {}
    twice = []
    for file, cell, row in zip(files, cells, table.rows, strict=True):
        location = table.location(row)
        tags = [tag for part in cell.split(config.tag_separator) if (tag := part.strip())]
        image = TaggedImage(file, location, frozenset(tags))
        first = images.setdefault(os.path.normpath(file), image)  # "./a.png" is "a.png"
        if first is not image:
            raise DataError(
                f"{location}: {file} is in {first.location} too. Keep one of the rows, with all "
                "its tags."
            )
        twice += [f'{location}: "{tag}"' for tag, n in Counter(tags).items() if n > 1]
    if twice:
        raise DataError(
            f"{table.path}: tags that a cell has twice:\n  {shortened(twice)}\nKeep one of each."
        )
    if not any(image.tags for image in images.values()):
        raise DataError(
            f'{table.path}: no row has a tag in column "{config.tag_column}".\nFill some in, or '
            "name another column in data.tag_column."
        )
    return list(images.values())


def _refuse_separator(table: CsvTable, cells: Sequence[str], config: TagTableConfig) -> None:
    """Raise `DataError` if no cell has the separator, and some have another usual one."""
    if any(config.tag_separator in cell for cell in cells):
        return
    counts = {other: sum(other in cell for cell in cells) for other in _SEPARATORS}
    other = max(counts, key=counts.__getitem__)
    if counts[other]:
        row, cell = next(pair for pair in zip(table.rows, cells, strict=True) if other in pair[1])
        raise DataError(
            f'{table.location(row)}: "{cell}" in column "{config.tag_column}": no cell has '
            f'"{config.tag_separator}", and {counts[other]} of {len(cells)} have "{other}".\n'
            f'Set data.tag_separator = "{other}".'
        )
