"""The contents of each shard. They follow from the data alone, so a second run plans the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from addkit.data.captions import CaptionedImages
from addkit.data.folders import FolderStore, ImageStore, names_below
from addkit.data.loader import epoch_order
from addkit.diffusion.randomness import counted_seed
from addkit.errors import DataError, UsageError
from addkit.plugin.protocols import DataSource, ImageSet
from addkit.plugin.values import MISSING, DataFacts

_SUFFIX = re.compile(r"\.[a-z0-9]{1,16}")
# Endings that webdataset decodes as labels and captions, never as images.
_ANNOTATIONS = ("cls", "txt", "json")


class Shardable(Protocol):
    """A data set whose images are files."""

    facts: DataFacts
    store: ImageStore
    side_files: tuple[Path, ...]
    """Files other than images that it reads."""

    def split(self, name: str) -> ImageSet:
        """As every data set has it."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its annotations."""

    key: str
    """Name of its members in the tar before the dot, unique in its split."""
    path: str
    name: str
    """Its path below the root of the data."""
    size: int
    changed: int
    """Time of the last change, in nanoseconds since 1970."""
    notes: Mapping[str, bytes]
    """The contents of KEY.cls, KEY.txt or KEY.json by these endings."""

    @property
    def suffix(self) -> str:
        """Name of the image's member after the dot."""
        suffix = Path(self.path).suffix.lower()
        usable = _SUFFIX.fullmatch(suffix) and suffix[1:] not in _ANNOTATIONS
        # webdataset splits names at dots, so an ending with other characters would break them.
        return suffix[1:] if usable else "image"


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """The samples of one tar file, in its order."""

    name: str
    split: str
    samples: Sequence[Sample]

    @property
    def digest(self) -> str:
        """Changes if a sample's name, size, time or annotations do."""
        # By time and size rather than content: a second run would read every image again.
        digest = hashlib.sha256()
        for sample in self.samples:
            notes = sorted(sample.notes.items())
            # repr separates the fields; names that are no UTF-8 contain surrogates.
            words = (sample.key, sample.name, sample.size, sample.changed, *notes)
            digest.update(repr(words).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def shardable(source: DataSource, name: str) -> tuple[Shardable, FolderStore]:
    """The data set and its folder. Raises `UsageError` if its images are no files."""
    store = getattr(source, "store", None)
    if store is None:
        raise UsageError(
            f'data.name = "{name}": its images are no files of their own. Shards can be '
            "made of image-folder, imagenet, coco-captions, caption-folder and attribute-table."
        )
    if not isinstance(store, FolderStore):
        raise UsageError(
            f"data.root: {store.root} is a folder of shards already; name the images' folder."
        )
    return cast("Shardable", source), store


def plan_shards(source: Shardable, root: Path, seed: int, size: int) -> list[PlannedShard]:
    """The shards of all splits, each closed by the image with which it reaches `size` bytes.

    `train` is shuffled once, by the seed; other splits stay in the order in which they are read.
    Raises `DataError` for data that is missing or broken.
    """
    shards: list[PlannedShard] = []
    for split in source.facts.split_sizes:
        # Closed before the next image, so that no shard is empty.
        parts: list[list[Sample]] = [[]]
        filled = 0
        for sample in _samples(source, split, root, seed):
            if filled >= size:
                parts.append([])
                filled = 0
            parts[-1].append(sample)
            filled += sample.size
        full = [part for part in parts if part]
        shards += [PlannedShard(f"{split}-{i:05}.tar", split, p) for i, p in enumerate(full)]
    return shards


def _samples(source: Shardable, split: str, root: Path, seed: int) -> Iterator[Sample]:
    images = source.split(split)
    order: Iterable[int] = range(len(images))
    if split == "train":
        # Mixed once here, so that a small shuffle buffer is enough when shards are read in order.
        order = epoch_order(counted_seed(seed, "shards"), 0, len(images)).tolist()
    for position, index in enumerate(order):
        path = images.source(index)
        (name,) = names_below(root, [path])
        try:
            state = Path(path).stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
        notes = _notes(images, index, name, source.facts)
        yield Sample(f"{position:08}", path, name, state.st_size, state.st_mtime_ns, notes)


def _notes(images: ImageSet, index: int, name: str, facts: DataFacts) -> Mapping[str, bytes]:
    if isinstance(images, CaptionedImages):
        texts = images.captions.texts[index]
        content = {"file": name, "captions": texts}
        return {"txt": texts[0].encode(), "json": json.dumps(content).encode()}
    labels = images.labels[index].tolist()
    if not facts.token_names:
        return {"cls": str(labels[0]).encode()}
    values = [None if label == MISSING else facts.class_names[label] for label in labels]
    named = dict(zip(facts.token_names, values, strict=True))
    return {"json": json.dumps({"file": name, **named}).encode()}
