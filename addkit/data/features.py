"""Features of images in files, and an `ImageSet` that reads them in place of images.

A table is a folder with `features.npy`, (images, L, W), and its checksums; it is whole or not
there. Whoever needs one takes its lock first, so that several processes compute it once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from PIL.Image import Image
from torch import Tensor, nn

from addkit.data.images import Pixels
from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.errors import DataError
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import Batch, DataFacts
from addkit.runs.atomic import whole_folder
from addkit.runs.checkpoint_files import fault_of, seal
from addkit.runs.disk import disk_errors

FEATURES = "features.npy"
PROBED = 16
"""Images whose pixels enter a key, so that another transform gets another key."""


def weights_digest(module: nn.Module) -> str:
    """Hash of all weights and buffers, by value: the same settings may load other ones."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def pool_digest(pool: Callable[[Tensor], Tensor], shape: tuple[int, int]) -> str:
    """Hash of what `pool` keeps of an encoder's tokens, by its result for given ones (L, W)."""
    # Whole numbers, whose sums are exact on any machine.
    tokens = (torch.arange(shape[0] * shape[1]) * 37 % 101).float().view(1, *shape)
    return hashlib.sha256(pool(tokens).contiguous().numpy().tobytes()).hexdigest()


def images_digest(images: ImageSet, facts: DataFacts, seed: int | None, settings: object) -> str:
    """Hash of images and their transform; each file counts by its name, size and time.

    Args:
        images: some of their pixels count too, as the encoder would get them.
        facts: of the data.
        seed: of their augmentation; None for images as they are.
        settings: of that augmentation, as JSON.
    """
    transform = [asdict(Pixels.of(facts)), seed, settings, len(images)]
    digest = hashlib.sha256(json.dumps(transform, sort_keys=True).encode())
    stamps = [_stamp(images.source(index)) for index in range(len(images))]
    if not all(stamps):
        # Embedded images, or shards: their source is no file, but the data set has some.
        stamps += [_stamp(str(file)) for file in facts.files]
        stamps += [images.source(index) for index in range(len(images))]
    digest.update("\n".join(stamps).encode(errors="surrogateescape"))
    step = max(1, len(images) // PROBED)
    probed = images.batch(list(range(0, len(images), step))[:PROBED], seed).images
    digest.update(probed.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _stamp(file: str) -> str:
    """Empty where there is no such file."""
    try:
        stat = os.stat(file)  # noqa: PTH116  # a Path for each of a million files takes seconds
    except (OSError, ValueError):
        return ""
    return f"{file} {stat.st_size} {stat.st_mtime_ns}"


@contextmanager
def locked(table: Path) -> Iterator[None]:
    """Hold the lock of a table, which need not exist. Raises `RunError` if it cannot be locked."""
    with disk_errors(table):
        table.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(table.with_name(f".{table.name}.lock"), fallback_to_soft=False)
        # It polls, so that a signal ends the wait.
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_whole(table: Path) -> bool:
    """True if the table is there, and as it was written by its checksums."""
    return table.is_dir() and fault_of(table) is None


def write_table(
    table: Path,
    parts: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: Literal["float32", "float16"],
) -> None:
    """Write features (images, L, W) part by part, so that they need not fit in memory.

    Raises `RunError` if the disk is full, before the first part where they cannot fit, and
    `DataError` if the parts have another shape. Nothing stays after an error.
    """
    needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with whole_folder(table) as folder, disk_errors(table, needed):
        if shutil.disk_usage(folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = 0
        # Not a memory map: on a full disk, writing to one ends the process by a signal.
        with (folder / FEATURES).open("wb") as file:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                if part.shape[1:] != shape[1:]:
                    raise DataError(f"the encoder gives tokens {part.shape[1:]}, not {shape[1:]}")
                file.write(np.ascontiguousarray(part, dtype).tobytes())
                count += len(part)
        if count != shape[0]:
            raise DataError(f"{table}: {count} of {shape[0]} images have features")
        seal(folder)


def read_table(table: Path) -> np.ndarray[Any, Any]:
    """Features (images, L, W) as a memory map: only the rows of a batch are read."""
    features: np.ndarray[Any, Any] = np.load(table / FEATURES, mmap_mode="r")
    return features


class FeatureImages:
    """An `ImageSet` with features in place of images: `Batch.images` are tokens (B, L, W).

    Args:
        images: the images themselves, for labels, names and pictures.
        views: features (n, L, W), one table for each view of the images.
    """

    def __init__(self, images: ImageSet, views: Sequence[np.ndarray[Any, Any]]) -> None:
        self.labels = images.labels
        # Plain arrays over the same memory: a memory map's own indexing takes twice as long.
        self._images, self._views = images, [np.asarray(view) for view in views]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shards(self) -> Tensor | None:
        """As the images have them, so that an epoch has the same order."""
        shards: Tensor | None = getattr(self._images, "shards", None)
        return shards

    def source(self, index: int) -> str:
        """As the images name it."""
        return self._images.source(index)

    def picture(self, index: int) -> Image:
        """The picture itself, which is read now."""
        return self._images.picture(index)

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """Features as images; with a seed each of a view, drawn by (seed, index) alone."""
        rows = np.asarray(indices)  # (B,)
        if seed is None or len(self._views) == 1:
            features = self._views[0][rows]
        else:
            draws = uniforms(counted_seed(seed, "view"), torch.from_numpy(rows), 1)[:, 0]
            drawn = (draws * len(self._views)).long().numpy()  # (B,)
            features = np.empty((len(rows), *self._views[0].shape[1:]), self._views[0].dtype)
            for view, table in enumerate(self._views):
                features[drawn == view] = table[rows[drawn == view]]
        tokens = torch.from_numpy(features).float()  # (B, L, W)
        return Batch(tokens, self.labels[torch.from_numpy(rows)], tuple(indices))


def with_features(images: ImageSet, views: Sequence[np.ndarray[Any, Any]]) -> ImageSet:
    """`FeatureImages`, with the captions and side inputs of the images."""
    features = FeatureImages(images, views)
    # Captions and side inputs wrap images; the same wrapper is put around the features.
    wrap: Callable[[ImageSet], ImageSet] | None = getattr(images, "over", None)
    return features if wrap is None else wrap(features)
