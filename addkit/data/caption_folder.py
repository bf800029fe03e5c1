"""The user's own pictures and captions: a table of captions in CSV, JSON lines or COCO's json."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from addkit.data.augmentation import Augmenter
from addkit.data.captions import CaptionedImages, Captions, CaptionTokens, caption_facts
from addkit.data.coco import read_coco
from addkit.data.folders import Listing, missing_folder, shortened
from addkit.data.overview import Contents
from addkit.data.settings import CaptionFolderConfig
from addkit.data.shards import open_store
from addkit.data.source import Source
from addkit.data.tables import read_csv
from addkit.errors import DataError, guess
from addkit.plugin.protocols import Tokenizer


class CaptionFolder(Source):
    """Images in a folder with a file of their captions.

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
        file = self.store.file(self._root / config.captions)
        self.side_files = (file,)
        pool, seed = read_captions(file, config), config.split_seed
        # By image, not by caption: all captions of an image are on one side.
        train, test = pool.split(config.test_share, seed, "test")
        splits = {"train": train, "test": test}
        if not len(test):
            raise DataError(
                f"{self._root / config.captions}: one image leaves none to test with. Add images."
            )
        if config.validation:
            splits["train"], splits["validation"] = train.split(
                config.validation, seed, "validation"
            )
        self._captions = {name: part.below(folder) for name, part in splits.items()}
        self._refuse_missing()
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        self._sound: dict[str, Sequence[int]] = {}
        super().__init__(caption_facts(config, self._tokens, self.store.reads((file, folder))))

    def contents(self) -> Contents:
        """The images with captions, unread."""
        return Contents(self.store, {name: c.names for name, c in self._captions.items()}, {})

    def _refuse_missing(self) -> None:
        paths = [path for part in self._captions.values() for path in part.names]
        missing = self.store.missing(sorted(paths))
        # All of them: the folder is wrong, whatever bad_files allows.
        if len(missing) == len(paths):
            raise DataError(
                f"{self._root}: none of the {len(paths)} images exists, among them {missing[0]}. "
                "Set data.images to their folder."
            )
        if missing and self._config.bad_files == "stop":
            raise DataError(
                f"{self._root}: {len(missing)} of {len(paths)} images are missing:\n  "
                f"{shortened(missing)}\nAdd them, set data.images to their folder, or set "
                'data.bad_files = "skip" to leave them out.'
            )

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


def read_captions(path: Path, config: CaptionFolderConfig) -> Captions:
    """Images in the order of their first line, each with all its captions; names as in the file.

    Raises `DataError`, with file and line, for a file that cannot be used.
    """
    # By the ending alone: JSON lines and JSON begin alike.
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".json"):
        raise DataError(
            f'data.captions: {path} ends in "{path.suffix}"; allowed: .csv, .jsonl, .json.'
        )
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"data.captions: {path} does not exist{guess(path.name, names)}.")
    if suffix == ".json":
        captions = read_coco(path)
        pairs = zip(captions.names, captions.texts, strict=True)
        empty = [name for name, texts in pairs if not all(text.strip() for text in texts)]
        if empty:
            raise DataError(
                f"{path}: empty captions, of\n  {shortened(empty)}\nWrite or remove these captions."
            )
        return captions
    if suffix == ".jsonl":
        return _by_image(path, _json_rows(path, config))
    table = read_csv(path, ",")
    locations = map(table.location, table.rows)
    images = table.cells(config.image_column, "image_column")
    texts = table.cells(config.caption_column, "caption_column")
    return _by_image(path, [*map(_Row, locations, images, texts)])


def _json_rows(path: Path, config: CaptionFolderConfig) -> list[_Row]:
    try:
        # Not splitlines: JSON strings may contain other line separators, such as U+2028.
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        location = f"{path}:{number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            raise DataError(f"{location}: no JSON ({error}). Write one object a line.") from error
        image = _text(location, values, config.image_column, "image_column")
        caption = _text(location, values, config.caption_column, "caption_column")
        rows.append(_Row(location, image, caption))
    return rows


def _text(location: str, values: object, name: str, key: str) -> str:
    if not isinstance(values, dict):
        raise DataError(f'{location}: no object. Write lines like {{"{name}": "..."}}.')
    if name not in values:
        raise DataError(
            f'{location}: no key "{name}"{guess(name, list(values))}; there are: '
            f"{', '.join(values)}.\nRename a key or set data.{key}."
        )
    if not isinstance(values[name], str):
        raise DataError(f'{location}: "{name}" is {values[name]!r}; a text is needed.')
    return str(values[name]).strip()


def _by_image(path: Path, rows: Sequence[_Row]) -> Captions:
    faults = []
    # By image and caption: two images may have one caption, and the reverse.
    locations: dict[tuple[str, str], str] = {}
    texts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not row.image:
            faults.append(f"{row.location}: no image")
            continue
        if not row.caption:
            faults.append(f"{row.location}: empty caption")
            continue
        name = os.path.normpath(row.image)  # "./a.png" and "a.png" are one image
        first = locations.setdefault((name, row.caption), row.location)
        if first != row.location:
            faults.append(f"{row.location}: the same image and caption as {first}")
        texts[name].append(row.caption)
    if faults:
        raise DataError(
            f"{path}: {len(faults)} of {len(rows)} lines cannot be used:\n  "
            f"{shortened(faults)}\nMend or remove these lines."
        )
    if not rows:
        raise DataError(f"{path}: no caption. Write a line for each caption.")
    return Captions(tuple(texts), tuple(map(tuple, texts.values())))
