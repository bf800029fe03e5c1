"""A picture to show beside its prediction, which keeps nothing large in memory."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor

from addkit.data.images import as_picture, read_image
from addkit.errors import DataError

LONGER_SIDE = 160
"""Pixels of a thumbnail's longer side, at most."""
SMALL = 64
"""Pixels up to which a picture is shown as squares, and enlarged."""


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture by its path, or as the network has read it."""

    name: str
    """Path or URL; empty for a picture without one."""
    path: Path | None = None
    """Read when the picture is shown, and not before."""
    levels: Tensor | None = None
    """uint8 (C, S, S), where there is no path."""

    def html(self) -> str:
        """An `img` of the thumbnail; empty if the file is gone."""
        if self.levels is not None:
            image = as_picture(self.levels)
        else:
            try:
                image = read_image(self.path or Path(self.name), 3)
            except (DataError, MemoryError):
                return ""
        # In place; never enlarged.
        image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.BICUBIC)
        file, small = BytesIO(), max(image.size) <= SMALL
        image.save(file, "PNG" if small else "JPEG", quality=85)
        data = b64encode(file.getvalue()).decode("ascii")
        scale = (LONGER_SIDE // max(image.size) if small else 1) or 1
        return (
            f'<img alt="" width="{scale * image.width}" height="{scale * image.height}" '
            f'src="data:image/{"png" if small else "jpeg"};base64,{data}" '
            f'style="border-radius:4px;margin:0{";image-rendering:pixelated" if small else ""}">'
        )
