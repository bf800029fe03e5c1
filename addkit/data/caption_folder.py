"""The user's own pictures and captions: CSV, JSON lines, COCO's json or a text for each image."""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from addkit.data.augmentation import Augmenter
from addkit.data.captions import CaptionedImages, Captions, CaptionTokens, caption_facts
from addkit.data.coco import read_coco
from addkit.data.folders import ImageStore, Listing, missing_folder, names_below, shortened
from addkit.data.formats import picture_endings
from addkit.data.overview import Contents
from addkit.data.settings import CaptionFolderConfig, DataWarning
from addkit.data.shards import open_store
from addkit.data.source import Source
from addkit.data.tables import ImageNames, read_csv
from addkit.data.text_files import parse_json, read_text
from addkit.errors import DataError, guess
from addkit.plugin.protocols import Tokenizer

_READ = (".csv", ".tsv", ".jsonl", ".json")
# The first is the setting's default; metadata.* are Hugging Face's.
_USUAL = (
    *("captions.csv", "captions.tsv", "captions.jsonl", "captions.json"),
    *("metadata.jsonl", "metadata.csv"),
)
_BESIDE = "*.txt"
_OTHER_NAMES = {"image": "file_name", "caption": "text"}
"""Columns that are read where a table lacks those of the default names: Hugging Face's."""
_HALF = re.compile("[\ud800-\udfff]")


class CaptionFolder(Source):
    """Images in a folder with a file of their captions, or a text file each.

    `test_share` of the images is held out, whatever their captions. Building reads the captions
    and lists the images; opening a split verifies its images once. `facts.split_sizes` counts
    images that have captions: a split that skips bad files is shorter.
    """

    def __init__(self, config: CaptionFolderConfig, tokenizer: Tokenizer) -> None:
        """Raises `DataError` for missing folders and images, and for captions that are unfit."""
        self._config = config
        self._root = config.root.expanduser()
        folder = self._root / config.images
        if not self._root.is_dir():
            raise DataError(f"data.root: {missing_folder(self._root)}")
        self.store = open_store(self._root)
        if not self.store.is_dir(folder):
            raise DataError(f"data.images: {missing_folder(folder)}")
        self.side_files, rows = read_rows(self.store, folder, config)
        file, seed = self.side_files[0], config.split_seed
        images = ImageNames(file, self.store, folder, "data.images")
        pool = _by_image(file, rows, images)
        # By image, not by caption: all captions of an image are on one side.
        train, test = pool.split(config.test_share, seed, "test")
        splits = {"train": train, "test": test}
        if not len(test):
            raise DataError(f"{file}: one image leaves none to test with. Add images.")
        if config.validation:
            splits["train"], splits["validation"] = train.split(
                config.validation, seed, "validation"
            )
        locations = {name: pool.location(i, 0) for i, name in enumerate(pool.names)}
        images.refuse_missing(locations, config.bad_files == "skip")
        self._captions = {name: part.below(folder) for name, part in splits.items()}
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        self._sound: dict[str, Sequence[int]] = {}
        # Texts beside the images are in their folder.
        files = () if file.suffix.lower() == ".txt" else self.side_files
        reads = self.store.reads((*files, folder))
        super().__init__(caption_facts(config, self._tokens, reads))

    def contents(self) -> Contents:
        """The images with captions, unread."""
        return Contents(self.store, {name: c.names for name, c in self._captions.items()}, {})

    def _open(self, name: str, augmenter: Augmenter) -> CaptionedImages:
        if name not in self._sound:
            listings = {
                # Labels are positions, to find the captions of readable images again.
                split: Listing(part.names, tuple(range(len(part))))
                for split, part in self._captions.items()
            }
            own = listings.pop(name)
            skip = self._config.bad_files == "skip"
            sound = self.store.sound(own, self._root, skip, [*listings.values()]).labels
            if not sound:
                raise DataError(f"{self._root}: no image of {name} can be read. Add images.")
            self._sound[name] = sound
        # Captions and references in the order of the readable images.
        captions = self._captions[name].at(self._sound[name])
        references = self._tokens.references[name].at(self._sound[name])
        images = self.store.images(captions.names, references.first(), self.pixels, augmenter)
        return CaptionedImages(images, references, captions, self._tokens.vocabulary)


@dataclass(frozen=True, slots=True)
class _Row:
    location: str
    """Such as `captions.csv:12`."""
    image: str
    caption: str


def read_rows(
    store: ImageStore, folder: Path, config: CaptionFolderConfig
) -> tuple[tuple[Path, ...], list[_Row]]:
    """The files of captions, and their rows; names as in the files.

    The file is `config.captions`. Where that is its default and does not exist, it is the one file
    of another usual name, or else NAME.txt beside each image. Raises `DataError`, with file and
    line, for files that cannot be used.
    """
    path = store.file(store.root / config.captions)
    default = str(config.captions) == _USUAL[0]
    if default and not path.is_file():
        usual = [store.file(store.root / name) for name in _USUAL]
        present = [file for file in usual if file.is_file()]
        if len(present) > 1:
            raise DataError(
                f"{store.root}: {' and '.join(file.name for file in present)} are both files of "
                "captions. Name one in data.captions."
            )
        path = present[0] if present else path
    if config.captions.name == _BESIDE or (default and not path.is_file()):
        files, rows = _rows_beside(store, folder)
        if files:
            return files, rows
    # By the ending alone: JSON lines and JSON begin alike.
    suffix = path.suffix.lower()
    if suffix not in _READ:
        raise DataError(
            f'data.captions: {path} ends in "{path.suffix}"; allowed: {", ".join(_READ)}, or '
            f"{_BESIDE} for NAME.txt beside each NAME.png."
        )
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        fault = "is no file" if path.exists() else f"does not exist{guess(path.name, names)}"
        inside = [str(file) for name in _USUAL for file in sorted(store.root.glob(f"*/{name}"))]
        raise DataError(
            f"data.captions: {path} {fault}.\nCaptions are read from {', '.join(_USUAL)}, or from "
            "NAME.txt beside each NAME.png."
            + (f" There is {inside[0]}: set data.root to its folder." if inside else "")
        )
    if suffix == ".json":
        captions = read_coco(path)
        pairs = zip(captions.names, captions.texts, strict=True)
        # One location for an image: COCO itself has images with a caption twice.
        return (path,), [
            _Row(f"{path}: {name}", name, text.strip()) for name, texts in pairs for text in texts
        ]
    if suffix == ".jsonl":
        return (path,), _json_rows(path, config)
    image, caption = config.image_column, config.caption_column
    table = read_csv(path, ",", image, _OTHER_NAMES.get(image, image))
    locations = map(table.location, table.rows)
    images = table.cells(_key(image, table.columns), "image_column")
    texts = table.cells(_key(caption, table.columns), "caption_column")
    return (path,), [*map(_Row, locations, images, texts)]


def _rows_beside(store: ImageStore, folder: Path) -> tuple[tuple[Path, ...], list[_Row]]:
    """A caption for each line of NAME.txt; images without that file are left out."""
    files: dict[Path, None] = {}
    rows, lacking = [], []
    above = [str(folder / name) for name in store.entries(folder)[1]]
    for image in sorted([*above, *chain.from_iterable(store.by_folder(folder).values())]):
        if Path(image).suffix.lower() not in picture_endings():
            continue
        file = store.file(Path(image).with_suffix(".txt"))
        if not file.is_file():
            lacking.append(image)
            continue
        files[file] = None
        (name,) = names_below(folder, [image])
        lines = read_text(file).split("\n")
        texts = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
        # A file without text is an empty caption.
        rows += [
            _Row(f"{file}:{number}", name, text) for number, text in (texts or {1: ""}).items()
        ]
    if files and lacking:
        warnings.warn(
            f"{folder}: {len(lacking)} images have no NAME.txt beside them and are left out, among "
            f"them {lacking[0]}",
            DataWarning,
            stacklevel=2,
        )
    return tuple(files), rows


def _json_rows(path: Path, config: CaptionFolderConfig) -> list[_Row]:
    rows = []
    # Not splitlines: JSON strings may contain other line separators, such as U+2028.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        location = f"{path}:{number}"
        values = parse_json(line, location, "Write one object a line.")
        image = _text(location, values, config.image_column, "image_column")
        caption = _text(location, values, config.caption_column, "caption_column")
        rows.append(_Row(location, image, caption))
    return rows


def _key(name: str, present: Collection[str]) -> str:
    other = _OTHER_NAMES.get(name, name)
    return other if name not in present and other in present else name


def _text(location: str, values: object, name: str, key: str) -> str:
    if not isinstance(values, dict):
        raise DataError(f'{location}: no object. Write lines like {{"{name}": "..."}}.')
    name = _key(name, values)
    if name not in values:
        raise DataError(
            f'{location}: no key "{name}"{guess(name, list(values))}; there are: '
            f"{', '.join(values)}.\nRename a key or set data.{key}."
        )
    text = values[name]
    # JSON can spell out half of a pair of surrogates, which is no character.
    if not isinstance(text, str) or _HALF.search(text):
        raise DataError(f'{location}: "{name}" is {text!r}; a text is needed.')
    return text.strip()


def _by_image(path: Path, rows: Sequence[_Row], images: ImageNames) -> Captions:
    """Images in the order of their first row, each with all its captions."""
    faults = []
    paths = images.found([row.image for row in rows if row.image])
    # By image and caption: two images may have one caption, and the reverse.
    locations: dict[tuple[str, str], str] = {}
    by_image: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        if not row.image:
            faults.append(f"{row.location}: no image")
            continue
        if not row.caption:
            faults.append(f"{row.location}: empty caption")
            continue
        name = os.path.normpath(paths[row.image])  # "./a.png" and "a.png" are one image
        first = locations.setdefault((name, row.caption), row.location)
        if first != row.location:
            faults.append(f"{row.location}: the same image and caption as {first}")
        by_image[name].append(row)
    if faults:
        raise DataError(
            f"{path}: {len(faults)} of {len(rows)} lines cannot be used:\n  "
            f"{shortened(faults)}\nMend or remove these lines."
        )
    if not rows:
        raise DataError(f"{path}: no caption. Write a line for each caption.")
    return Captions(
        tuple(by_image),
        tuple(tuple(row.caption for row in rows) for rows in by_image.values()),
        tuple(tuple(row.location for row in rows) for rows in by_image.values()),
    )
