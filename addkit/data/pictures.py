"""Pictures as users of `predict` give them: paths, URLs, bytes, PIL images, arrays, tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from addkit.data.web import Url, scheme_of
from addkit.errors import UsageError

Picture: TypeAlias = (
    "Path | str | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray | Tensor"
)
"""One picture: a path or URL, the bytes of an image file, an open binary file, a PIL image, an
array (H, W) or (H, W, C) or a tensor (C, H, W) of uint8, C being 1, 3 or 4 (with transparency)."""
Pictures: TypeAlias = "Picture | Iterable[Picture]"

_KINDS = (PathLike, str, bytes, bytearray, memoryview, Image.Image, np.ndarray, Tensor)
_ALLOWED = (
    "a path, a URL, bytes, an open binary file, a PIL image, an array (H, W, 3) or a tensor "
    "(C, H, W) of uint8, or an iterable of them"
)
_CHANNELS = (1, 3, 4)


class PictureSource(NamedTuple):
    """A picture that is not decoded, or not resized, yet."""

    file: Path | BinaryIO | Url | Image.Image
    name: str
    """In error messages: the path or URL, or the argument."""

    @property
    def shown_as(self) -> Path | str:
        """The path, from which it can be read again, or the URL; empty for others."""
        return self.file if isinstance(self.file, Path | Url) else ""


def pictures_in(images: object) -> Iterable[object] | None:
    """The pictures of an iterable; None for a single picture. Raises `UsageError` for a value that
    is neither, and for one in a list or tuple that is no picture.
    """
    if isinstance(images, np.ndarray | Tensor):
        return cast("Iterable[object]", images) if images.ndim == 4 else None
    if _is_picture(images):
        return None
    # Sets have no order, and whether a mapping's keys or values are meant is not clear.
    if not isinstance(images, Iterable) or isinstance(images, Mapping | set | frozenset):
        raise UsageError(f"images: found a value of type {type(images).__name__}; give {_ALLOWED}")
    if isinstance(images, list | tuple):
        # Before hours of work: the last of many may be none.
        for index, picture in enumerate(images):
            _check_kind(picture, f"images[{index}]")
    return images


def source_of(picture: object, name: str) -> PictureSource:
    """Where a picture is read from; of an array or tensor a PIL image that is a copy.

    Args:
        picture: see `Picture`.
        name: of the argument, for errors about pictures without a name of their own.

    Raises:
        UsageError: another type, shape or dtype, or a URL of another scheme.
    """
    _check_kind(picture, name)
    match picture:
        case str() if scheme := scheme_of(picture):
            if scheme not in ("http", "https"):
                raise UsageError(f"{name}: found {picture}; URLs of http and https are read")
            return PictureSource(Url(picture), picture)
        case str() | PathLike():
            path = fspath(picture)
            if not path:
                raise UsageError(f"{name}: an empty name")  # As a path: the working directory.
            return PictureSource(Path(path), path)
        case bytes() | bytearray() | memoryview():
            return PictureSource(BytesIO(picture), name)
        case Image.Image():
            return PictureSource(picture, name)
        case np.ndarray() | Tensor():
            return PictureSource(_image_of(picture, name), name)
    file = cast("BinaryIO", picture)
    own = getattr(file, "name", None)
    return PictureSource(file, own if isinstance(own, str) else name)


def _is_picture(value: object) -> bool:
    return isinstance(value, _KINDS) or hasattr(value, "read")


def _check_kind(value: object, name: str) -> None:
    if not _is_picture(value):
        raise UsageError(f"{name}: found a value of type {type(value).__name__}; give {_ALLOWED}")


def _image_of(values: np.ndarray[Any, Any] | Tensor, name: str) -> Image.Image:
    """8-bit levels as a PIL image of mode L, RGB or RGBA."""
    is_tensor, shape = isinstance(values, Tensor), tuple(values.shape)
    layout = "(C, H, W)" if is_tensor else "(H, W) or (H, W, C)"
    allowed = f"a picture is uint8 (0 to 255) of shape {layout}, C being 1, 3 or 4"
    found = f"{name}: found {values.dtype} of shape {shape}"
    if isinstance(values, Tensor):
        if values.is_meta or values.layout != torch.strided:
            raise UsageError(f"{found}, {values.layout} on {values.device}; a picture is dense")
        is_levels, is_float = values.dtype == torch.uint8, values.is_floating_point()
        planes = values.ndim == 3
        values = values.detach().cpu()
        turned: np.ndarray[Any, Any] | Tensor = values.permute(1, 2, 0) if planes else values
    else:
        is_levels, is_float = values.dtype == np.uint8, values.dtype.kind == "f"
        planes, turned = values.ndim in (2, 3), values
    if not is_levels:
        fix = "(255 * x).round()" + (".byte()" if is_tensor else '.astype("uint8")')
        raise UsageError(f"{found}; {allowed}{f'; of x in [0, 1] it is {fix}' if is_float else ''}")
    if not planes or 0 in shape or (len(shape) == 3 and turned.shape[-1] not in _CHANNELS):
        turn = ""
        if len(shape) == 3 and shape[-1 if is_tensor else 0] in _CHANNELS:
            turn = f"; turn it by {'.permute(2, 0, 1)' if is_tensor else '.transpose(1, 2, 0)'}"
        raise UsageError(f"{found}; {allowed}{turn}")
    # A copy: whoever made the array may fill it with the next picture while this one waits.
    levels = np.array(turned.numpy() if isinstance(turned, Tensor) else turned, order="C")
    return Image.fromarray(levels[..., 0] if levels.shape[2:] == (1,) else levels)
