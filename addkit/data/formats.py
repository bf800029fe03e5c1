"""Formats of image files by their first bytes, also of those that are not read. No torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FORMATS = (
    *("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000"),
    *("TGA", "ICO", "PCX", "SGI"),
)
"""Formats that are read, where Pillow has them. Others are left out, among them EPS, which Pillow
passes to Ghostscript: a program that executes what the file contains."""

HEAD = 512
"""Bytes that decide what a file is."""

_ENDINGS = {
    *(".heic", ".heif", ".hif", ".jxl", ".psd", ".xcf", ".svg", ".eps", ".exr", ".hdr", ".mpo"),
    *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"),
}
"""Of pictures that Pillow does not read, or not by a format of its own."""

_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "a camera's raw file (CR3)",
}

_BEGINNINGS = (
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"gimp xcf", "GIMP"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "a document (PDF)"),
    (b"PK\x03\x04", "an archive (zip)"),
    (b"version https://git-lfs", "a pointer of Git LFS (git lfs pull fetches the file)"),
)
_FILM = "a film"
NO_PICTURES = (_FILM, *(name for _, name in _BEGINNINGS[-3:]))
"""What is no picture in any format."""


@cache
def read_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads."""
    from PIL import Image

    Image.init()  # registers the formats that Pillow loads on demand
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def read_endings() -> frozenset[str]:
    """Endings of the formats that are read, in lower case, such as `.jpg`."""
    from PIL import Image

    formats = read_formats()
    return frozenset(ending for ending, name in Image.EXTENSION.items() if name in formats)


@cache
def picture_endings() -> frozenset[str]:
    """Endings of pictures in lower case, whether or not they are read."""
    return read_endings() | _ENDINGS


def unread_format(head: bytes) -> str:
    """What a file is that begins so, if it is of a known format that is not read; else empty."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _FILM)
    if b"<svg" in head:
        return "SVG"
    return next((name for start, name in _BEGINNINGS if head.startswith(start)), "")


def is_picture(path: str, *, read: bool = False) -> bool:
    """True if the file has a picture's ending or begins as one does; its content may be broken.

    With `read` only formats that are read count. Raises OSError if the file has to be opened and
    cannot be.
    """
    from PIL import Image

    ending = path[path.rfind(".") :].lower()
    if ending in (read_endings() if read else picture_endings()):
        return True
    with Path(path).open("rb") as file:
        head = file.read(HEAD)
    known = unread_format(head)
    if known or len(head) < 16:
        return bool(known) and known not in NO_PICTURES and not read
    # Pillow's own tests of the first 16 bytes; formats without a test are found by their endings.
    tests = (Image.OPEN[name][1] for name in read_formats())
    return any(test(head[:16]) is True for test in tests if test)
