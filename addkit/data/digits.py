"""The embedded digits."""

from __future__ import annotations

import gzip
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from addkit.data.augmentation import Augmenter
from addkit.data.image_sets import Bitmaps, MemoryImages
from addkit.data.settings import DigitsConfig
from addkit.data.source import Source
from addkit.data.splits import held_out_count, hold_out, split_sizes
from addkit.plugin.facts import DataFacts

_CLASS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
_WHITE = 16
_FILE = files("addkit.data").joinpath("embedded", "digits.csv.gz")


class Digits(Source):
    """1,797 handwritten digits, 8 x 8 grey, 10 classes; read from the package."""

    def __init__(self, config: DigitsConfig) -> None:
        self._config = config
        super().__init__(_facts(config))

    def _open(self, name: str, augmenter: Augmenter) -> MemoryImages:
        bitmaps = _read()
        labels = bitmaps.labels[:, 0].tolist()
        seed, numbers = self._config.split_seed, [str(number) for number in range(len(labels))]
        pool, test = hold_out(labels, numbers, self._config.test_share, seed, "test")
        kept, held = hold_out(
            [labels[i] for i in pool],
            [numbers[i] for i in pool],
            self._config.validation,
            seed,
            "validation",
        )
        positions = {
            "train": [pool[i] for i in kept],
            "validation": [pool[i] for i in held],
            "test": test,
        }
        return MemoryImages(bitmaps.at(positions[name]), self.pixels, augmenter)


def _facts(config: DigitsConfig) -> DataFacts:
    tests = [held_out_count(count, config.test_share) for count in _CLASS_COUNTS]
    return DataFacts(
        num_classes=10,
        class_names=tuple("0123456789"),
        image_size=config.image_size,
        image_channels=1,
        mean=config.mean,
        std=config.std,
        shorter_side=config.image_size,
        split_sizes=split_sizes(_CLASS_COUNTS, config.validation, tests),
        files=(Path(str(_FILE)),),
    )


def _read() -> Bitmaps:
    with as_file(_FILE) as path, gzip.open(path, "rt") as lines:
        table = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.uint8))
    images = table[:, :64].reshape(-1, 1, 8, 8).contiguous()
    names = tuple(f"digits, image {number}" for number in range(len(table)))
    return Bitmaps(images, _WHITE, table[:, 64:].long(), names)
