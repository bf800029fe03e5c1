"""Files of features: keys, writing whole or not at all, and checks before reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import nn

from addkit.errors import DataError
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import DataFacts
from addkit.runs.atomic import whole_folder
from addkit.runs.checkpoint_files import fault_of, seal
from addkit.runs.disk import disk_errors

try:
    import fcntl
except ImportError:  # Windows has none: two processes there may compute the same twice
    fcntl = None  # type: ignore[assignment]


FEATURES = "features.npy"
PROBED = 16
"""Images whose pixels enter a key, so that another transform gets another key."""


def key_of(
    encoder: nn.Module, images: ImageSet, facts: DataFacts, view: int | None, dtype: str
) -> str:
    """Hash of what features depend on: weights, transform, files with size and time, view."""
    digest = hashlib.sha256()
    # Weights by value rather than by the settings: the same settings may load other weights.
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
        stat = file.stat()
    except OSError:  # an embedded image has a name and no file
        return str(file)
    return f"{file} {stat.st_size} {stat.st_mtime_ns}"


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time compute; the other ranks wait, then read its file."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.with_name(f".{path.name}.lock").open("w")
    with opened as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_complete(path: Path) -> bool:
    """True if the folder is complete and sound; a broken one is computed again."""
    return path.is_dir() and fault_of(path) is None


def write(path: Path, parts: Iterable[np.ndarray], count: int, dtype: str) -> None:
    """Write features (count, L, W) part by part, so that they need not fit in memory."""
    with whole_folder(path) as folder:
        done = 0
        # Not a memory map: on a full disk, writing to one ends the process by a signal.
        with (folder / FEATURES).open("wb") as file:
            for part in parts:
                if not done:
                    # L and W are the encoder's, so the first part decides the shape.
                    shape = (count, *part.shape[1:])
                    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(part, dtype).tobytes())
                done += len(part)
        if not done or done != count:
            raise DataError(f"{path}: {done} of {count} images have features")
        seal(folder)


def open_features(path: Path) -> np.ndarray:
    """Features (n, L, W) as a memory map: only the rows of a batch are read."""
    table: np.ndarray = np.load(path / FEATURES, mmap_mode="r")
    return table
