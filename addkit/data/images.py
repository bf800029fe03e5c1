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
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from addkit.errors import DataError
from addkit.plugin.facts import DataFacts

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


@dataclass(frozen=True, slots=True)
class Pixels:
    """Size and scale of the encoder's input."""

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int
    """What the shorter side becomes before the centre crop; image_size or more."""

    @classmethod
    def of(cls, facts: DataFacts) -> Pixels:
        """Those of a data set."""
        return cls(
            facts.image_size, facts.image_channels, facts.mean, facts.std, facts.shorter_side
        )

    def fit(self, image: Image.Image) -> Image.Image:
        """Resize and centre crop to a square of image_size, in one resampling."""
        side = min(image.size) * self.image_size / self.shorter_side
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        size = (self.image_size, self.image_size)
        return image.resize(size, Image.Resampling.BICUBIC, box=box)

    def normalise(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) in [0, 1] -> (pixel - mean) / std."""
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        return (images - mean) / std

    def scaled(self, levels: Tensor, out: Tensor) -> Tensor:
        """`out` = (level / 255 - mean) / std of 8-bit levels (B, channels, size, size).

        The same to the bit as `normalise`.
        """
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        for image, level in zip(out, levels, strict=True):  # one fits in a core's cache
            image.copy_(level).div_(255).sub_(mean).div_(std)
        return out

    def prepared(self, image: Image.Image) -> Tensor:
        """One image as the test split shows it, (channels, size, size)."""
        return self.normalise(to_pixels(self.fit(image)))


def resampled(image: Image.Image, size: int) -> Tensor:
    """Mode L or RGB -> uint8 (channels, size, size), bicubic, antialiased.

    By torch's kernel for 8 bits, five times as fast as Pillow's. They differ by less than half a
    level on average, since Pillow takes rows before columns where that is quicker.
    """
    levels = _planes(image)[None]
    return interpolate(levels, (size, size), mode="bicubic", antialias=True)[0]


def to_pixels(image: Image.Image) -> Tensor:
    """Mode L or RGB -> float (channels, height, width) in [0, 1]."""
    return to_levels(image).float() / 255


def to_levels(image: Image.Image) -> Tensor:
    """Mode L or RGB -> uint8 (channels, height, width)."""
    return _planes(image).contiguous()


def _planes(image: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(image))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def prepare_image(file: ImageFile, facts: DataFacts) -> Tensor:
    """One file (or open binary stream) as a data set's test split would show it.

    Returns (channels, size, size), normalised. Raises `DataError` for anything but an image.
    """
    return Pixels.of(facts).prepared(read_image(file, facts.image_channels))
