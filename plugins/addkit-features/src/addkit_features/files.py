"""Files of features: their keys, written whole or not at all, and checked before they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import nn

from addkit.errors import DataError
from addkit.plugin.facts import DataFacts
from addkit.plugin.protocols import ImageSet
from addkit.runs.atomic import whole_folder
from addkit.runs.checkpoint_files import fault_of, seal

try:
    import fcntl
except ImportError:  # Windows has none: two processes there may compute the same twice
    fcntl = None  # type: ignore[assignment]


FEATURES = "features.npy"
PROBED = 16
"""Images whose pixels go into a key, so that another transform has another one."""


def key_of(
    encoder: nn.Module, images: ImageSet, facts: DataFacts, view: int | None, dtype: str
) -> str:
    """What features depend on: weights, transform, the files with size and time, and the view."""
    digest = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    transform = (facts.image_size, facts.image_channels, facts.mean, facts.std, facts.shorter_side)
    digest.update(json.dumps([transform, view, dtype, len(images)]).encode())
    for file in [*facts.files, *(Path(images.source(i)) for i in range(len(images)))]:
        digest.update(_stamp(file).encode())
    step = max(1, len(images) // PROBED)
    probed = images.batch(list(range(0, len(images), step))[:PROBED], view).images
    digest.update(probed.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _stamp(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:  # An embedded image has a name and no file
        return str(file)
    return f"{file} {found.st_size} {found.st_mtime_ns}"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time; the others of a training wait, and find the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def known(path: Path) -> bool:
    """True if the cache holds this whole; what is broken counts as not there."""
    return path.is_dir() and fault_of(path) is None


def write(path: Path, parts: Iterable[np.ndarray], count: int, dtype: str) -> None:
    """Features (count, L, W), part by part, so that they need not fit in memory."""
    with whole_folder(path) as folder:
        table: np.ndarray | None = None
        done = 0
        for part in parts:
            if table is None:
                table = np.lib.format.open_memmap(
                    folder / FEATURES, "w+", np.dtype(dtype), (count, *part.shape[1:])
                )
            table[done : done + len(part)] = part
            done += len(part)
        if table is None or done != count:
            raise DataError(f"{path}: {done} of {count} images have features")
        del table
        seal(folder)


def opened(path: Path) -> np.ndarray:
    """Features (n, L, W), read from the disk where they are asked for."""
    table: np.ndarray = np.load(path / FEATURES, mmap_mode="r")
    return table
