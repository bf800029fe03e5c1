"""Reading one image file: whatever its mode, upright 8-bit grey or RGB comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from addkit.errors import DataError

__all__ = ["ImageFile", "check_image", "read_image"]

ImageFile = Path | BinaryIO
"""A path, or an open binary file such as standard input."""

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class _UnfitError(ValueError):
    """Pixels that have no one reading as 8 bits."""


def read_image(file: ImageFile, channels: int) -> Image.Image:
    """The image in mode L (channels = 1) or RGB (channels = 3), upright by its EXIF data.

    Transparent parts show white; 16-bit grey is scaled to 8 bits; of several frames the first
    counts. Raises `DataError` that names the file and what is wrong with it.
    """
    with _explained(file), Image.open(file) as image:
        return _flat(_upright(image), channels)


def check_image(path: Path) -> None:
    """Raise the `DataError` of `read_image`, if any. JPEGs are decoded small, yet to their end."""
    with _explained(path), Image.open(path) as image:
        image.draft("RGB", (1, 1))
        image.load()
        _flat(image, 1)


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image.copy()


def _flat(image: Image.Image, channels: int) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _eight_bit(image)
    if image.mode == "F":
        raise _UnfitError("floating-point pixels have no set range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = _on_white(image.convert("RGBA"))
    return image.convert("L" if channels == 1 else "RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise _UnfitError(
            f"grey values run from {values.min()} to {values.max()}; 0 to 65535 is allowed"
        )
    return Image.fromarray((values / 257).round().astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image)


@contextmanager
def _explained(file: ImageFile) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        name = str(file) if isinstance(file, Path) else "standard input"
        raise DataError(f"{name}: {_reason(file, error)}") from error


def _reason(file: ImageFile, error: Exception) -> str:
    match error:
        case UnidentifiedImageError():
            return _not_an_image(file)
        case OSError() if error.strerror:
            return f"cannot be read ({error.strerror})"
        case _UnfitError():
            return str(error)
    if isinstance(error, _BOMBS):
        return f"too large to open safely: {error}"
    return f"cut short or broken ({error or type(error).__name__})"


def _not_an_image(file: ImageFile) -> str:
    if isinstance(file, Path):
        empty = file.stat().st_size == 0
    else:
        empty = file.seekable() and file.seek(0, 2) == 0
    return "empty file" if empty else "no image in a format that Pillow reads (JPEG, PNG, ...)"
