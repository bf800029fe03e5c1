"""Memory for large batches that is used again."""

from __future__ import annotations

import weakref

import numpy as np
import torch
from torch import Tensor

_Slab = np.ndarray[tuple[int], np.dtype[np.float32]]


class Slabs:
    """Float tensors whose memory comes back here when no tensor lives in it any more.

    The system hands out fresh memory page by page, and a batch of 64 images has nearly ten
    thousand: that can take longer than decoding them.
    """

    def __init__(self) -> None:
        self._free: list[_Slab] = []

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """A float32 tensor of this shape with no set values."""
        size = int(np.prod(shape))
        slab = self._free.pop() if self._free else np.empty(size, dtype=np.float32)
        if slab.size < size:
            slab = np.empty(size, dtype=np.float32)
        # The tensor, its views and whatever autograd keeps of it all hold this array.
        lease = slab[:size]
        back = weakref.finalize(lease, self._free.append, slab)
        back.atexit = False
        return torch.from_numpy(lease).view(shape)
