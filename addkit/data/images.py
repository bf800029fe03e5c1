"""Reading image files, or parts of them: whatever the mode, upright 8-bit grey or RGB comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from addkit.errors import DataError

ImageFile = Path | BinaryIO
"""A path, or an open binary file such as standard input."""

FORMATS = (
    *("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000"),
    *("TGA", "ICO", "PCX", "SGI"),
)
"""What is read, where Pillow has it. It knows more, among them EPS, which it hands to Ghostscript:
a program that runs whatever the file says."""

_SIDEWAYS = range(5, 9)
"""EXIF orientations that swap width and height."""

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class _UnfitError(ValueError):
    """Pixels that have no one reading as 8 bits."""


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of an upright image, in squares of scale x scale pixels."""

    left: int
    top: int
    width: int
    height: int
    scale: int = 1
    """1, 2, 4 or 8: what a JPEG may be shrunk by while it is decoded."""


def read_image(file: ImageFile, channels: int, name: str | None = None) -> Image.Image:
    """The image in mode L (channels = 1) or RGB (channels = 3), upright by its EXIF data.

    Transparent parts show white; 16-bit grey is scaled to 8 bits; of several frames the first
    counts. Raises `DataError` that names the file and what is wrong with it. `name` is what an
    open stream is called there, if it is not standard input.
    """
    with _explained(file, name), Image.open(file, formats=_formats()) as image:
        return _flat(_upright(image), channels)


def read_part(
    file: ImageFile, channels: int, choose: Callable[[int, int], Part], name: str | None = None
) -> Image.Image:
    """The part of an image that `choose(width, height)` names before anything is decoded.

    At scale 1 its pixels are those of `read_image`. At scale s an upright JPEG is decoded at 1/s of
    its size, by a smaller inverse transform, and the result is part.width x part.height; whatever
    else gives part.width * s x part.height * s pixels. Resampled to about part.width, the two
    differ by 0.5 to 1.4 levels on average in grainy photos, 8 at most (43 to 50 dB; less at larger
    s), and decoding takes a third to three quarters of the time. Errors are those of `read_image`.
    """
    with _explained(file, name), Image.open(file, formats=_formats()) as image:
        width, height = image.size
        orientation = _orientation(image)
        part = choose(height, width) if orientation in _SIDEWAYS else choose(width, height)
        # Turned, the squares of 1/s would not begin at the upper left corner.
        shrunk = orientation == 1 and _shrunk(image, part.scale)
        scale = 1 if shrunk else part.scale
        left, top = part.left * scale, part.top * scale
        box = (left, top, left + part.width * scale, top + part.height * scale)
        return _flat(_upright(image), channels).crop(box)


def check_image(path: Path) -> None:
    """Raise the `DataError` of `read_image`, if any. JPEGs are decoded small, yet to their end."""
    with _explained(path), Image.open(path, formats=_formats()) as image:
        image.draft("RGB", (1, 1))
        image.load()
        _flat(image, 1)


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    if _orientation(image) == 1:
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return found if found in range(1, 9) else 1


def _shrunk(image: Image.Image, scale: int) -> bool:
    """Whether the file will be decoded at 1/scale of its size."""
    width, height = image.size
    image.draft(None, (width // scale, height // scale))
    return image.size == (ceil(width / scale), ceil(height / scale))


def _flat(image: Image.Image, channels: int) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _eight_bit(image)
    if image.mode == "F":
        raise _UnfitError("floating-point pixels have no set range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = _on_white(image.convert("RGBA"))
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


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
def _explained(file: ImageFile, name: str | None = None) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        name = str(file) if isinstance(file, Path) else name or "standard input"
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
    return "empty file" if empty else "no image in a format that is read (JPEG, PNG, WebP, ...)"
