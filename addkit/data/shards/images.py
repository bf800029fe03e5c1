"""A split whose images lie in shards."""

from __future__ import annotations

import io
from collections.abc import Sequence

from torch import Tensor

from addkit.data.augment import Augmenter
from addkit.data.file_images import FileImages
from addkit.data.images import ImageFile
from addkit.data.pixels import Pixels
from addkit.data.shards.reader import ShardReader


class ShardedImages(FileImages):
    """`FileImages` whose bytes are those of shards.

    Args:
        names: of the n images, as they were called in the folder.
        labels: (n, N).
        places: (n, 4), where each image is: shard, offset, length, CRC-32.
        reader: of these shards.
        pixels: size and scale.
        augmenter: of training images.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Tensor,
        places: Tensor,
        reader: ShardReader,
        pixels: Pixels,
        augmenter: Augmenter,
    ) -> None:
        super().__init__(names, labels, pixels, augmenter)
        self._places = places
        self._reader = reader

    @property
    def shards(self) -> Tensor:
        """(n, 2) int64: each image's shard and its place in there; see `addkit.data.order`."""
        return self._places[:, :2]

    @property
    def sizes(self) -> Tensor:
        """(n,) int64: each image's bytes in its shard."""
        return self._places[:, 2]

    def source(self, index: int) -> str:
        """Such as `OUT/train-00003.tar: cat/12.jpg`."""
        shard = self._reader.names[int(self._places[index, 0])]
        return f"{self._reader.root / shard}: {self._paths[index]}"

    def _file(self, index: int) -> ImageFile:
        return io.BytesIO(self._reader.read(*self._places[index].tolist()))
