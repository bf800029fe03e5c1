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
from addkit.data.source import Source, facts_of, hold_out, split_sizes
from addkit.errors import DataError

_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_SIDE, _WHITE = 28, 255
_STEMS = {"train": "train", "test": "t10k"}
_FILES = tuple(
    f"{stem}-{content}-ubyte"
    for stem in _STEMS.values()
    for content in ("images-idx3", "labels-idx1")
)
_UNSIGNED_BYTES = 0x08


class FashionMNIST(Source):
    """70,000 pieces of clothing, 28 x 28 grey, 10 classes."""

    def __init__(self, config: FashionMNISTConfig) -> None:
        self._config = config
        self._root = config.root.expanduser()
        # Missing files are named at the paths where torchvision would put them.
        home = self._folders()[0]
        super().__init__(
            facts_of(
                config,
                num_classes=len(_CLASSES),
                class_names=_CLASSES,
                # The published sizes, so that facts need no file.
                split_sizes=split_sizes([7000] * 10, config.validation, [1000] * 10),
                files=tuple(self._find(name) or home / name for name in _FILES),
            )
        )

    def _open(self, name: str, augmenter: Augmenter) -> MemoryImages:
        part = "test" if name == "test" else "train"  # `validation` is held out of train
        images_file = self._existing(f"{_STEMS[part]}-images-idx3-ubyte")
        labels_file = self._existing(f"{_STEMS[part]}-labels-idx1-ubyte")
        images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)  # (n, 28, 28), (n,)
        if images.shape[1:] != (_SIDE, _SIDE):
            size = " x ".join(map(str, images.shape[1:]))
            raise DataError(f"{images_file}: images of {size} pixels; Fashion-MNIST has 28 x 28.")
        if len(images) != len(labels):
            raise DataError(
                f"{labels_file}: {len(labels)} labels for the {len(images)} images of "
                f"{images_file.name}. Get both files again."
            )
        # max of no labels raises.
        if len(labels) == 0 or int(labels.max()) >= len(_CLASSES):
            raise DataError(f"{labels_file}: labels from 0 to 9 are needed, one or more.")
        names = tuple(f"fashion-mnist {part}, image {number}" for number in range(len(labels)))
        bitmaps = Bitmaps(images[:, None], _WHITE, labels.long()[:, None], names)

        share, seed = self._config.validation, self._config.split_seed
        if part == "train" and share:
            numbers = [str(number) for number in range(len(labels))]
            kept, held = hold_out(labels.tolist(), numbers, share, seed, "validation")
            bitmaps = bitmaps.at(held if name == "validation" else kept)
        return MemoryImages(bitmaps, self.pixels, augmenter)

    def _folders(self) -> tuple[Path, ...]:
        # torchvision's layout, the folder in it, and the four files alone.
        return self._root / "FashionMNIST" / "raw", self._root / "raw", self._root

    def _find(self, name: str) -> Path | None:
        # Some unpackers write train-images.idx3-ubyte.
        spellings = (name, name.replace("-idx", ".idx"))
        names = [spelling + suffix for spelling in spellings for suffix in ("", ".gz")]
        paths = (folder / name for folder in self._folders() for name in names)
        return next((path for path in paths if path.is_file()), None)

    def _existing(self, name: str) -> Path:
        path = self._find(name)
        if path is None:
            raise DataError(
                f"Fashion-MNIST needs {', '.join(_FILES)} (plain or .gz); {name} is in none of "
                f'{", ".join(map(str, self._folders()))}.\nGet them with python -c "from '
                f"torchvision.datasets import FashionMNIST as F; F('{self._root}', "
                'download=True)" or from github.com/zalandoresearch/fashion-mnist.'
            )
        return path


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The uint8 array of an IDX file, plain or gzipped: a magic number, the sizes, then bytes.

    Raises `DataError` for a broken one.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}). Get the file again.") from error
    start = 4 * (1 + dimensions)
    magic = (_UNSIGNED_BYTES << 8 | dimensions).to_bytes(4, "big")
    if content[:4] != magic:
        raise DataError(
            f"{path}: starts with {content[:4].hex() or 'nothing'}, an IDX file of bytes in "
            f"{dimensions} dimensions with {magic.hex()}. Get the file again."
        )
    # A header that is cut short reads as sizes of 0, and then the number of bytes is wrong.
    shape = struct.unpack(f">{dimensions}I", content[4:start].ljust(start - 4, b"\0"))
    # Of no image at all there would be no tensor.
    if len(content) - start != math.prod(shape) or not math.prod(shape):
        raise DataError(
            f"{path}: announces {math.prod(shape)} bytes of data and has "
            f"{len(content) - start}. Get the file again."
        )
    # A bytearray, since a tensor over immutable bytes warns.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).view(shape)
