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
from addkit.data.source import Source, facts_of, held_out_count, hold_out_splits, split_sizes

# So that facts need no file.
_CLASS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
_WHITE = 16  # each pixel counts the dark ones of a 4 x 4 block
_FILE = files("addkit.data").joinpath("embedded", "digits.csv.gz")


class Digits(Source):
    """1,797 handwritten digits, 8 x 8 grey, 10 classes; read from the package."""

    def __init__(self, config: DigitsConfig) -> None:
        self._config = config
        tests = [held_out_count(count, config.test_share) for count in _CLASS_COUNTS]
        super().__init__(
            facts_of(
                config,
                num_classes=10,
                class_names=tuple("0123456789"),
                split_sizes=split_sizes(_CLASS_COUNTS, config.validation, tests),
                files=(Path(str(_FILE)),),
            )
        )

    def _open(self, name: str, augmenter: Augmenter) -> MemoryImages:
        with as_file(_FILE) as path, gzip.open(path, "rt") as lines:
            table = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.uint8))  # (1797, 65)
        images = table[:, :64].reshape(-1, 1, 8, 8).contiguous()
        numbers = [str(number) for number in range(len(table))]
        names = tuple(f"digits, image {number}" for number in numbers)
        bitmaps = Bitmaps(images, _WHITE, table[:, 64:].long(), names)

        config, labels = self._config, bitmaps.labels[:, 0].tolist()
        shares = {"test": config.test_share, "validation": config.validation}
        splits = hold_out_splits(labels, numbers, shares, config.split_seed)
        return MemoryImages(bitmaps.at(splits[name]), self.pixels, augmenter)
