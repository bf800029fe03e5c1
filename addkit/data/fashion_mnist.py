"""Fashion-MNIST from its four IDX files."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.image_sets import Bitmaps, MemoryImages
from addkit.data.settings import FashionMNISTConfig
from addkit.data.source import Source
from addkit.data.splits import hold_out, split_sizes
from addkit.errors import DataError
from addkit.plugin.facts import DataFacts

_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_SIDE, _WHITE = 28, 255
_STEMS = {"train": "train", "test": "t10k"}
_FILES = tuple(
    f"{stem}-{content}-ubyte"
    for stem in _STEMS.values()
    for content in ("images-idx3", "labels-idx1")
)


class FashionMNIST(Source):
    """70,000 pieces of clothing, 28 x 28 grey, 10 classes."""

    def __init__(self, config: FashionMNISTConfig) -> None:
        self._config = config
        self._root = config.root.expanduser()
        super().__init__(_facts(config, tuple(_places(self._root))))

    def _open(self, name: str, augmenter: Augmenter) -> MemoryImages:
        part = "test" if name == "test" else "train"
        bitmaps = _read(self._root, part)
        if name != "test" and self._config.validation:
            bitmaps = bitmaps.at(self._positions(bitmaps, held=name == "validation"))
        return MemoryImages(bitmaps, self.pixels, augmenter)

    def _positions(self, bitmaps: Bitmaps, held: bool) -> list[int]:
        labels = bitmaps.labels[:, 0].tolist()
        numbers = [str(number) for number in range(len(labels))]
        share, seed = self._config.validation, self._config.split_seed
        return hold_out(labels, numbers, share, seed, "validation")[held]


def _facts(config: FashionMNISTConfig, files: tuple[Path, ...]) -> DataFacts:
    return DataFacts(
        num_classes=len(_CLASSES),
        class_names=_CLASSES,
        image_size=config.image_size,
        image_channels=1,
        mean=config.mean,
        std=config.std,
        shorter_side=config.image_size,
        split_sizes=split_sizes([7000] * 10, config.validation, [1000] * 10),
        files=files,
    )


def _read(root: Path, part: str) -> Bitmaps:
    stem = _STEMS[part]
    images_file = _found(root, f"{stem}-images-idx3-ubyte")
    labels_file = _found(root, f"{stem}-labels-idx1-ubyte")
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    _refuse_misfits(images_file, images, labels_file, labels)
    names = tuple(f"fashion-mnist {part}, image {number}" for number in range(len(labels)))
    return Bitmaps(images[:, None], _WHITE, labels.long()[:, None], names)


def _refuse_misfits(images_file: Path, images: Tensor, labels_file: Path, labels: Tensor) -> None:
    if images.shape[1:] != (_SIDE, _SIDE):
        size = " x ".join(map(str, images.shape[1:]))
        raise DataError(f"{images_file}: images of {size} pixels; Fashion-MNIST has 28 x 28.")
    if len(images) != len(labels):
        raise DataError(
            f"{labels_file}: {len(labels)} labels for the {len(images)} images of "
            f"{images_file.name}. Get both files again."
        )
    if len(labels) == 0 or int(labels.max()) >= len(_CLASSES):
        raise DataError(f"{labels_file}: labels from 0 to 9 are needed, one or more.")


def _folders(root: Path) -> tuple[Path, ...]:
    return root / "FashionMNIST" / "raw", root / "raw", root


def _places(root: Path) -> list[Path]:
    """The four files where they lie, or where torchvision would put them."""
    home = _folders(root)[0]
    return [_find(root, name) or home / name for name in _FILES]


def _find(root: Path, name: str) -> Path | None:
    # Some unpackers write train-images.idx3-ubyte.
    spellings = (name, name.replace("-idx", ".idx"))
    names = [spelling + suffix for spelling in spellings for suffix in ("", ".gz")]
    places = (folder / name for folder in _folders(root) for name in names)
    return next((place for place in places if place.is_file()), None)


def _found(root: Path, name: str) -> Path:
    place = _find(root, name)
    if place is None:
        raise DataError(
            f"Fashion-MNIST needs {', '.join(_FILES)} (plain or .gz); {name} is in none of "
            f'{", ".join(map(str, _folders(root)))}.\nGet them with python -c "from '
            f"torchvision.datasets import FashionMNIST as F; F('{root}', download=True)\" or "
            "from github.com/zalandoresearch/fashion-mnist."
        )
    return place


_UNSIGNED_BYTES = 0x08


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The uint8 array of a plain or gzipped file. Raises `DataError` for a broken one."""
    content = _unpacked(path)
    start = 4 * (1 + dimensions)
    magic = (_UNSIGNED_BYTES << 8 | dimensions).to_bytes(4, "big")
    if content[:4] != magic:
        raise DataError(
            f"{path}: starts with {content[:4].hex() or 'nothing'}, an IDX file of bytes in "
            f"{dimensions} dimensions with {magic.hex()}. Get the file again."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:start].ljust(start - 4, b"\0"))
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{path}: announces {math.prod(shape)} bytes of data and holds "
            f"{len(content) - start}. Get the file again."
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).view(shape)


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}). Get the file again.") from error
