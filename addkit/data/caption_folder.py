"""The user's own pictures and captions."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from addkit.data.augmentation import Augmenter
from addkit.data.captions import CaptionedImages, Captions, CaptionTokens, caption_facts
from addkit.data.coco import read_coco
from addkit.data.folders import Listing, missing_folder, shortened
from addkit.data.settings import CaptionFolderConfig
from addkit.data.shards import open_store
from addkit.data.source import Source
from addkit.data.tables import read_csv
from addkit.errors import DataError
from addkit.plugin.guess import guess
from addkit.plugin.protocols import Tokenizer


class CaptionFolder(Source):
    """Images in a folder with a file of their captions.

    `test_share` of the images is held out, whatever their captions. Building reads the captions
    and looks for the images; opening a split verifies its images once. `facts.split_sizes` counts
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
        splits = self._split(read_captions(file, config))
        self._captions = {name: part.below(folder) for name, part in splits.items()}
        self._refuse_missing()
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        self._sound: dict[str, Sequence[int]] = {}
        super().__init__(caption_facts(config, self._tokens, self.store.reads((file, folder))))

    def _split(self, pool: Captions) -> Mapping[str, Captions]:
        config = self._config
        rest, test = pool.split(config.test_share, config.split_seed, "test")
        if not len(test):
            raise DataError(
                f"{self._root / config.captions}: one image leaves none to test with. Add images."
            )
        if not config.validation:
            return {"train": rest, "test": test}
        train, held = rest.split(config.validation, config.split_seed, "validation")
        return {"train": train, "test": test, "validation": held}

    def _refuse_missing(self) -> None:
        paths = [path for part in self._captions.values() for path in part.names]
        missing = self.store.missing(sorted(paths))
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
            self._sound[name] = self._checked(name)
        positions = self._sound[name]
        captions = self._captions[name].at(positions)
        references = self._tokens.references[name].at(positions)
        images = self.store.images(captions.names, references.first(), self.pixels, augmenter)
        return CaptionedImages(images, references, captions, self._tokens.vocabulary)

    def _checked(self, name: str) -> Sequence[int]:
        """Positions of the images that can be read."""
        own = _listing(self._captions[name])
        others = [_listing(part) for split, part in self._captions.items() if split != name]
        skip = self._config.bad_files == "skip"
        sound = self.store.sound(own, self._root, skip, others).labels
        if not sound:
            raise DataError(f"{self._root}: no image of {name} can be read. Add images.")
        return sound


def _listing(captions: Captions) -> Listing:
    return Listing(captions.names, tuple(range(len(captions.names))))


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    """Such as `captions.csv:12`."""
    image: str
    caption: str


def read_captions(path: Path, config: CaptionFolderConfig) -> Captions:
    """Images in the order of their first line, each with all its captions; names as in the file.

    Raises `DataError`, with file and line, for a file that cannot be used.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f'data.captions: {path} ends in "{path.suffix}"; allowed: {", ".join(_READERS)}.'
        )
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"data.captions: {path} does not exist{guess(path.name, names)}.")
    return reader(path, config)


def _from_coco(path: Path, config: CaptionFolderConfig) -> Captions:
    captions = read_coco(path)
    pairs = zip(captions.names, captions.texts, strict=True)
    empty = [name for name, texts in pairs if not all(text.strip() for text in texts)]
    if empty:
        raise DataError(
            f"{path}: empty captions, of\n  {shortened(empty)}\nWrite or remove these captions."
        )
    return captions


def _from_csv(path: Path, config: CaptionFolderConfig) -> Captions:
    table = read_csv(path, ",")
    image = table.column(config.image_column, "image_column")
    caption = table.column(config.caption_column, "caption_column")
    rows = [_Row(table.place(row), row.cells[image], row.cells[caption]) for row in table.rows]
    return _gathered(path, rows)


def _from_lines(path: Path, config: CaptionFolderConfig) -> Captions:
    keys = {"image_column": config.image_column, "caption_column": config.caption_column}
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    return _gathered(path, list(_json_rows(path, lines, keys)))


def _json_rows(path: Path, lines: Sequence[str], keys: Mapping[str, str]) -> Iterator[_Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            raise DataError(f"{place}: no JSON ({error}). Write one object a line.") from error
        image, caption = (_text(place, values, name, key) for key, name in keys.items())
        yield _Row(place, image, caption)


def _text(place: str, values: object, name: str, key: str) -> str:
    if not isinstance(values, dict):
        raise DataError(f'{place}: no object. Write lines like {{"{name}": "..."}}.')
    if name not in values:
        raise DataError(
            f'{place}: no key "{name}"{guess(name, list(values))}; there are: '
            f"{', '.join(values)}.\nRename a key or set data.{key}."
        )
    if not isinstance(values[name], str):
        raise DataError(f'{place}: "{name}" is {values[name]!r}; a text is needed.')
    return str(values[name]).strip()


def _gathered(path: Path, rows: Sequence[_Row]) -> Captions:
    problems = list(_problems(rows))
    if problems:
        raise DataError(
            f"{path}: {len(problems)} of {len(rows)} lines cannot be used:\n  "
            f"{shortened(problems)}\nMend or remove these lines."
        )
    if not rows:
        raise DataError(f"{path}: no caption. Write a line for each caption.")
    texts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        texts[os.path.normpath(row.image)].append(row.caption)
    return Captions(tuple(texts), tuple(map(tuple, texts.values())))


def _problems(rows: Sequence[_Row]) -> Iterator[str]:
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        if not row.image:
            yield f"{row.place}: no image"
        elif not row.caption:
            yield f"{row.place}: empty caption"
        else:
            other = first.setdefault((os.path.normpath(row.image), row.caption), row.place)
            if other != row.place:
                yield f"{row.place}: the same image and caption as {other}"


_READERS: Mapping[str, Callable[[Path, CaptionFolderConfig], Captions]] = {
    ".csv": _from_csv,
    ".jsonl": _from_lines,
    ".json": _from_coco,
}
