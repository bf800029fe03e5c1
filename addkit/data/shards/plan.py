"""What goes into which shard. It follows from the data alone, so that a second run plans alike."""

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
from addkit.data.order import epoch_order
from addkit.diffusion.randomness import counted_seed
from addkit.errors import DataError, UsageError
from addkit.plugin.facts import MISSING, DataFacts
from addkit.plugin.protocols import DataSource, ImageSet

_SUFFIX = re.compile(r"\.[a-z0-9]{1,16}")
_ANNOTATIONS = ("cls", "txt", "json")


class Shardable(Protocol):
    """A data set whose images lie in files."""

    facts: DataFacts
    store: ImageStore
    side_files: tuple[Path, ...]
    """Files other than images that it reads."""

    def split(self, name: str) -> ImageSet:
        """As every data set has it."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with what is known of it."""

    key: str
    """What its members in the tar are called before the dot, unique in its split."""
    path: str
    name: str
    """Below the root of the data."""
    size: int
    changed: int
    """When, in nanoseconds since 1970."""
    notes: Mapping[str, bytes]
    """The contents of KEY.cls, KEY.txt or KEY.json by these endings."""

    @property
    def suffix(self) -> str:
        """What the image's member is called after the dot."""
        suffix = Path(self.path).suffix.lower()
        usable = _SUFFIX.fullmatch(suffix) and suffix[1:] not in _ANNOTATIONS
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
        told = hashlib.sha256()
        for one in self.samples:
            words = (one.key, one.name, one.size, one.changed, *sorted(one.notes.items()))
            told.update(repr(words).encode("utf-8", "surrogateescape"))
        return told.hexdigest()


def shardable(source: DataSource, name: str) -> tuple[Shardable, FolderStore]:
    """The data set and its folder. Raises `UsageError` if its images do not lie in files."""
    store = getattr(source, "store", None)
    if store is None:
        raise UsageError(
            f'data.name = "{name}": its images do not lie in files of their own. Shards can be '
            "made of image-folder, imagenet, coco-captions, caption-folder and attribute-table."
        )
    if not isinstance(store, FolderStore):
        raise UsageError(
            f"data.root: {store.root} holds shards already; name the folder of the images."
        )
    return cast("Shardable", source), store


def plan_shards(source: Shardable, root: Path, seed: int, size: int) -> list[PlannedShard]:
    """The shards of all splits, each closed by the image with which it reaches `size` bytes.

    `train` is shuffled once, by the seed; other splits stay in their order, in which they are read.
    Raises `DataError` for data that is missing or broken.
    """
    shards: list[PlannedShard] = []
    for split in source.facts.split_sizes:
        samples = _samples(source, split, root, seed)
        parts = _cut(samples, size)
        shards += [PlannedShard(f"{split}-{i:05}.tar", split, p) for i, p in enumerate(parts)]
    return shards


def _samples(source: Shardable, split: str, root: Path, seed: int) -> Iterator[Sample]:
    images = source.split(split)
    order: Iterable[int] = range(len(images))
    if split == "train":
        order = epoch_order(counted_seed(seed, "shards"), 0, len(images)).tolist()
    for place, index in enumerate(order):
        path = images.source(index)
        (name,) = names_below(root, [path])
        size, changed = _state(path)
        yield Sample(
            f"{place:08}", path, name, size, changed, _notes(images, index, name, source.facts)
        )


def _state(path: str) -> tuple[int, int]:
    try:
        state = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    return state.st_size, state.st_mtime_ns


def _notes(images: ImageSet, index: int, name: str, facts: DataFacts) -> Mapping[str, bytes]:
    if isinstance(images, CaptionedImages):
        texts = images.captions.texts[index]
        whole = {"file": name, "captions": texts}
        return {"txt": texts[0].encode(), "json": json.dumps(whole).encode()}
    labels = images.labels[index].tolist()
    if not facts.token_names:
        return {"cls": str(labels[0]).encode()}
    values = [None if label == MISSING else facts.class_names[label] for label in labels]
    told = {"file": name, **dict(zip(facts.token_names, values, strict=True))}
    return {"json": json.dumps(told).encode()}


def _cut(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
    shard: list[Sample] = []
    filled = 0
    for sample in samples:
        shard.append(sample)
        filled += sample.size
        if filled >= size:
            yield shard
            shard, filled = [], 0
    if shard:
        yield shard
