"""From an image file to the encoder's input: reading (ahead), decoding, resizing, scaling.

Whatever the file's mode, what is read is upright and 8-bit, grey or RGB.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from addkit.data.formats import HEAD, NO_PICTURES, read_formats, unread_format
from addkit.data.pictures import PictureSource
from addkit.data.web import Url, download
from addkit.errors import FILE_BEING_READ, DataError
from addkit.plugin.values import DataFacts, Fit, Interpolation

ImageFile = Path | BinaryIO
"""A path, or an open binary file such as standard input."""

_SIDEWAYS = range(5, 9)
"""EXIF orientations that swap width and height."""

_THREADS = min(8, os.cpu_count() or 1)
"""Pillow decodes without the interpreter's lock."""

_CHUNK = 256
"""Files that one task of a thread pool checks."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Size and scale of the encoder's input."""

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int
    """Pixels of the shorter side before the centre crop; image_size or more."""
    interpolation: Interpolation = "bicubic"
    fit: Fit = "crop"
    """See `to_square`."""

    @classmethod
    def of(cls, facts: DataFacts) -> Pixels:
        """Size and scale of a data set's pixels."""
        return cls(
            facts.image_size,
            facts.image_channels,
            facts.mean,
            facts.std,
            facts.shorter_side,
            facts.interpolation,
            facts.fit,
        )

    def to_square(self, image: Image.Image) -> Image.Image:
        """The picture as a square of image_size, in one resampling.

        crop: the centre square whose side is image_size / shorter_side of the shorter side.
        squash: the whole picture, stretched. letterbox: the whole picture, its longer side
        image_size pixels, in the middle of a square of the mean colour.
        """
        size = self.image_size
        resample = Image.Resampling[self.interpolation.upper()]
        if self.fit == "crop":
            # The square of the original that becomes the output: no second resampling or rounding.
            side = min(image.size) * size / self.shorter_side
            left, top = (image.width - side) / 2, (image.height - side) / 2
            return image.resize((size, size), resample, (left, top, left + side, top + side))
        if self.fit == "squash":
            return image.resize((size, size), resample)
        longer = max(image.size)
        width, height = (max(round(side * size / longer), 1) for side in image.size)
        square = Image.new(image.mode, (size, size), self.mean_colour)
        square.paste(
            image.resize((width, height), resample), ((size - width) // 2, (size - height) // 2)
        )
        return square

    @property
    def mean_colour(self) -> tuple[int, ...]:
        """The mean of each channel as an 8-bit level."""
        return tuple(min(255, max(0, round(255 * level))) for level in self.mean)

    def resampled(self, image: Image.Image) -> Tensor:
        """All of an image of mode L or RGB -> uint8 (C, image_size, image_size), antialiased.

        torch's 8-bit kernel is five times as fast as Pillow's. They differ by less than half a
        level on average, since Pillow resamples rows before columns where that is quicker.
        """
        levels = to_levels(image)[None]  # (1, C, height, width)
        size = (self.image_size, self.image_size)
        return interpolate(levels, size, mode=self.interpolation, antialias=True)[0]

    def normalise(self, images: Tensor) -> Tensor:
        """(B, C, S, S) in [0, 1] -> (pixel - mean) / std."""
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        return (images - mean) / std

    def scaled(self, levels: Tensor, out: Tensor) -> Tensor:
        """`out` = (level / 255 - mean) / std of 8-bit levels (B, C, S, S).

        Equal to the bit to `normalise`.
        """
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        # Image by image, since one fits in a core's cache and a batch does not.
        for image, level in zip(out, levels, strict=True):
            image.copy_(level).div_(255).sub_(mean).div_(std)
        return out

    def prepared(self, image: Image.Image) -> Tensor:
        """One image as the test split has it, (C, S, S)."""
        return self.normalise(to_levels(self.to_square(image)).float() / 255)


def prepare_image(file: ImageFile, facts: DataFacts) -> Tensor:
    """A user's image (a file or an open binary stream), prepared as the test split is.

    Returns (C, S, S), normalised. Raises `DataError` for anything but an image.
    """
    return Pixels.of(facts).prepared(read_image(file, facts.image_channels))


def to_levels(image: Image.Image) -> Tensor:
    """Mode L or RGB -> uint8 (C, height, width), the channels of a pixel side by side in memory."""
    values = torch.from_numpy(np.array(image))  # (height, width) or (height, width, 3)
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def as_picture(levels: Tensor) -> Image.Image:
    """uint8 (C, height, width) -> mode L or RGB."""
    planes = levels.numpy()
    return Image.fromarray(planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0))


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of an upright image, in squares of scale x scale pixels."""

    left: int
    top: int
    width: int
    height: int
    scale: int = 1
    """1, 2, 4 or 8: by how much a JPEG may be shrunk while it is decoded."""


def read_image(
    file: ImageFile | Image.Image, channels: int, name: str | None = None
) -> Image.Image:
    """The image in mode L (channels = 1) or RGB (channels = 3), upright by its EXIF data.

    Transparent parts become white; 16-bit grey is scaled to 8 bits; of several frames the first is
    read, and of an open PIL image the one that it shows. Raises `DataError` that names the file and
    its fault. `name` names an open stream in that message; by default it is standard input.
    """
    with _explained(file, name):
        if isinstance(file, Image.Image):
            return _flat(_upright(file), channels)
        with Image.open(file, formats=read_formats()) as image:
            return _flat(_upright(image), channels)


def read_part(
    file: ImageFile, channels: int, choose: Callable[[int, int], Part], name: str | None = None
) -> Image.Image:
    """The part of an image that `choose(width, height)` names before anything is decoded.

    At scale 1 its pixels are those of `read_image`. At scale s an upright JPEG is decoded at 1/s of
    its size, by a smaller inverse transform, and the result is part.width x part.height; any other
    file gives part.width * s x part.height * s pixels. Resampled to about part.width, the two
    differ by 0.5 to 1.4 levels on average in grainy photos, 8 at most (43 to 50 dB; less at larger
    s), and decoding takes a third to three quarters of the time. Errors are those of `read_image`.
    """
    with _explained(file, name), Image.open(file, formats=read_formats()) as image:
        width, height = image.size
        orientation = _orientation(image)
        part = choose(height, width) if orientation in _SIDEWAYS else choose(width, height)
        scale = part.scale
        # Not where the image must be turned: squares of 1/s would not begin at the upper left.
        if orientation == 1:
            image.draft(None, (width // scale, height // scale))
            # Only some decoders, and only some sizes, can be shrunk.
            if image.size == (ceil(width / scale), ceil(height / scale)):
                scale = 1
        left, top = part.left * scale, part.top * scale
        box = (left, top, left + part.width * scale, top + part.height * scale)
        return _flat(_upright(image), channels).crop(box)


def check_image(path: Path) -> None:
    """Raise the `DataError` of `read_image`, if any. JPEGs are decoded small, yet to their end."""
    with _explained(path), Image.open(path, formats=read_formats()) as image:
        # The smallest scale that the decoder has: an eighth.
        image.draft("RGB", (1, 1))
        image.load()
        _flat(image, 1)


def unreadable(paths: Sequence[str]) -> list[str | None]:
    """For each file the error of `check_image`, None if there is none; each is decoded once."""

    def errors(chunk: Sequence[str]) -> list[str | None]:
        messages: list[str | None] = []
        for path in chunk:
            try:
                check_image(Path(path))
                messages.append(None)
            except DataError as error:
                messages.append(str(error))
        return messages

    # In chunks, since a pool allocates an object for each task.
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(chain.from_iterable(pool.map(errors, chunks)))


def levels_of(source: PictureSource, pixels: Pixels) -> Tensor:
    """The 8-bit levels (C, S, S) of a picture. Raises `DataError` if it cannot be read."""
    file = download(source.file) if isinstance(source.file, Url) else source.file
    try:
        return to_levels(pixels.to_square(read_image(file, pixels.channels, source.name)))
    # A small file may decode to a huge picture.
    except MemoryError:
        raise DataError(f"{source.name}: too large for this machine's memory") from None


Unread = PictureSource | Tensor | Exception
"""A picture to read, one that is read already, or the reason why there is none."""


def read_ahead(
    pictures: Iterable[Unread], pixels: Pixels, most: int
) -> Generator[Tensor | Exception, None, None]:
    """The 8-bit levels (C, S, S) of each picture, or the error of those that cannot be read, in
    order.

    Threads read ahead, at most `most` pictures at a time. Levels and errors among them are passed
    on.
    """

    def read(chunk: list[Unread]) -> list[Tensor | Exception]:
        results: list[Tensor | Exception] = []
        for picture in chunk:
            if not isinstance(picture, PictureSource):
                results.append(picture)
                continue
            try:
                results.append(levels_of(picture, pixels))
            except DataError as error:
                results.append(DataError(str(error)))  # without its frames: they hold the image
        return results

    pending: deque[tuple[int, Future[list[Tensor | Exception]]]] = deque()
    pool, rest = ThreadPoolExecutor(_THREADS), iter(pictures)
    size, ahead = 1, 0
    try:
        # A task costs as much as a tiny image, hence chunks; small ones first, for an early result.
        while chunk := list(islice(rest, size)):
            pending.append((len(chunk), pool.submit(read, chunk)))
            size, ahead = min(2 * size, max(most // 4, 1)), ahead + len(chunk)
            # The first results must not wait until `most` pictures are listed.
            while pending and (ahead + size > most or pending[0][1].done()):
                length, results = pending.popleft()
                ahead -= length
                yield from results.result()
        for _, results in pending:
            yield from results.result()
    finally:
        # An interruption waits for no file, which may lie on a network.
        pool.shutdown(wait=False, cancel_futures=True)


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    with suppress(Exception):  # a broken EXIF block does not make the pixels unusable
        # `exif_transpose` would copy an image that is upright.
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            return ImageOps.exif_transpose(image)
    return image


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


class _UnfitError(ValueError):
    """Pixels that have no one reading as 8 bits."""


def _flat(image: Image.Image, channels: int) -> Image.Image:
    """8 bits, no transparency, one or three channels."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        # Mode "I" has 32 bits, and PNG and TIFF use 16 of them.
        if values.min() < 0 or values.max() > 65535:
            raise _UnfitError(
                f"grey values run from {values.min()} to {values.max()}; 0 to 65535 is allowed"
            )
        # 65535 / 257 = 255.
        image = Image.fromarray((values / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise _UnfitError("floating-point pixels have no set range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


@contextmanager
def _explained(file: ImageFile | Image.Image, name: str | None = None) -> Iterator[None]:
    name = str(file) if isinstance(file, Path) else name or "standard input"
    token = FILE_BEING_READ.set(name)
    try:
        # A pipe or a device would be read without end.
        if isinstance(file, Path) and not file.is_file() and file.exists() and not file.is_dir():
            raise _UnfitError("not a regular file")
        yield
    except MemoryError:
        raise  # the file may be sound
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        match error:
            case UnidentifiedImageError():
                reason = "no image in a format that is read (JPEG, PNG, WebP, ...)"
                head = b"?"  # a pipe cannot seek; what it begins with is then unknown
                with suppress(OSError):
                    if isinstance(file, Path):
                        with file.open("rb") as opened:
                            head = opened.read(HEAD)
                    elif not isinstance(file, Image.Image) and file.seekable():
                        file.seek(0)
                        head = file.read(HEAD)
                if kind := unread_format(head):
                    remedy = "" if kind in NO_PICTURES else "; convert it to JPEG or PNG"
                    reason += f": it is {kind}{remedy}"
                reason = reason if head else "empty file"
            # An OSError without strerror is Pillow's own, about the content: see below.
            case OSError() if error.strerror:
                reason = f"cannot be read ({error.strerror})"
            case _UnfitError():
                reason = str(error)
            case Image.DecompressionBombError() | Image.DecompressionBombWarning():
                reason = f"too large to open safely: {error}"
            case _:
                reason = f"cut short or broken ({error or type(error).__name__})"
        raise DataError(f"{name}: {reason}") from error
    finally:
        FILE_BEING_READ.reset(token)
