"""IDX, the format of MNIST and its kin: a magic number, the sizes, then bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from addkit.errors import DataError

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
