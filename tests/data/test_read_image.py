from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from PIL import Image

from addkit.data.images import Part, check_image, read_image, read_part
from addkit.errors import DataError


def _pixel(path: Path, channels: int = 3) -> object:
    return read_image(path, channels).getpixel((0, 0))


@pytest.mark.parametrize(
    ("mode", "colour", "rgb", "grey"),
    [
        ("RGB", (200, 100, 50), (200, 100, 50), 124),
        ("L", 77, (77, 77, 77), 77),
        ("1", 1, (255, 255, 255), 255),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255), 255),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0), 60),
        ("LA", (0, 51), (204, 204, 204), 204),
        ("I;16", 25700, (100, 100, 100), 100),
        ("P", 0, (0, 0, 0), 0),
    ],
)
def test_modes(tmp_path: Path, mode: str, colour: object, rgb: object, grey: int) -> None:
    path = tmp_path / "image.png"
    Image.new(mode, (3, 2), cast("tuple[int, ...]", colour)).save(path)
    assert _pixel(path) == rgb
    assert _pixel(path, channels=1) == grey
    assert read_image(path, 1).size == (3, 2)
    check_image(path)


def test_32_bit_grey_with_16_bit_values(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.new("I", (3, 2), 65535).save(path)
    assert _pixel(path) == (255, 255, 255)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)
    red, green, blue = cast("tuple[int, int, int]", _pixel(path))
    assert red > 240
    assert max(green, blue) < 15


def test_transparent_palette_shows_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 0, 0, 0])
    image.save(tmp_path / "one.gif", transparency=1)
    image.save(tmp_path / "many.png", transparency=b"\xff\x80")
    assert _pixel(tmp_path / "one.gif") == (255, 255, 255)
    assert _pixel(tmp_path / "many.png") == (127, 127, 127)


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert _pixel(tmp_path / "film.gif") == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"phone.{suffix}"
    Image.new("RGB", (8, 4)).save(path, exif=exif)
    assert read_image(path, 3).size == (4, 8)


def test_a_broken_exif_block_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (8, 4)).save(path, exif=b"Exif\0\0nonsense")
    assert read_image(path, 3).size == (8, 4)


def test_an_open_stream_will_do() -> None:
    stream = io.BytesIO()
    Image.new("L", (5, 5), 9).save(stream, "PNG")
    stream.seek(0)
    assert read_image(stream, 1).getpixel((0, 0)) == 9


def test_a_pipe_will_do() -> None:
    stream = io.BytesIO()
    Image.new("L", (5, 5), 9).save(stream, "PNG")
    code = (
        "import sys; from addkit.data.images import read_image; "
        "print(read_image(sys.stdin.buffer, 1).size)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=stream.getvalue(), stdout=-1)
    assert done.stdout.strip() == b"(5, 5)"


def _photo(path: Path, progressive: bool) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, progressive=progressive)
    return path.read_bytes()


@pytest.mark.parametrize("read", [check_image, lambda path: read_image(path, 3)])
@pytest.mark.parametrize(
    ("name", "progressive"), [("a.jpg", False), ("a.jpg", True), ("a.png", False)]
)
def test_truncation_is_noticed(tmp_path: Path, read: object, name: str, progressive: bool) -> None:
    path = tmp_path / name
    content = _photo(path, progressive)
    check_image(path)
    path.write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(DataError, match=rf"{name}: cut short or broken \(.*truncated.*\)"):
        read(path)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "a.jpg: empty file$"),
        (b"hello", r"a.jpg: no image in a format that is read \(JPEG, PNG, WebP, ...\)$"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "a.jpg: "),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_image(path, 3)


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_streams_that_are_no_images(content: bytes) -> None:
    stream: BinaryIO = io.BytesIO(content)
    with pytest.raises(DataError, match=r"standard input: (empty file|no image)"):
        read_image(stream, 3)


def test_streams_can_have_a_name() -> None:
    with pytest.raises(DataError, match=r"^train-00003.tar: cat/1.jpg: empty file$"):
        read_image(io.BytesIO(b""), 3, "train-00003.tar: cat/1.jpg")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.png: cannot be read \(No such file or directory\)"):
        read_image(tmp_path / "none.png", 3)
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_image(tmp_path, 3)


def test_pixels_without_a_range_are_refused(tmp_path: Path) -> None:
    Image.new("F", (2, 2), 0.5).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float.tif: floating-point pixels"):
        check_image(tmp_path / "float.tif")
    Image.new("I", (2, 2), 70000).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match="run from 70000 to 70000; 0 to 65535 is allowed"):
        read_image(tmp_path / "deep.tif", 3)


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"bomb.png: too large to open safely: .*10000 pixels"):
        read_image(tmp_path / "bomb.png", 3)


def test_lack_of_memory_is_nobodys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(path: object, **_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", exhausted)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "a.png", 3)


def _smooth(width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(1).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _save(path: Path, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = _smooth(203, 150)
    match path.stem:
        case "clear":
            image.putalpha(image.getchannel("R"))
        case "palette":
            image = image.quantize(16)
        case "print":
            image = image.convert("CMYK")
        case "grey":
            image = image.convert("L")
    image.save(path, exif=exif)
    return path


FILES = ["photo.jpg", "photo.png", "clear.png", "palette.png", "print.jpg", "grey.jpg"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", FILES)
def test_a_part_is_a_part(tmp_path: Path, name: str, orientation: int, channels: int) -> None:
    path = _save(tmp_path / name, orientation)
    whole = read_image(path, channels)
    sizes = []

    def choose(width: int, height: int) -> Part:
        sizes.append((width, height))
        return Part(11, 7, 64, 91)

    part = read_part(path, channels, choose)
    assert sizes == [whole.size]
    assert part.mode == whole.mode
    assert part.tobytes() == whole.crop((11, 7, 75, 98)).tobytes()


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("name", ["photo.jpg", "grey.jpg", "print.jpg"])
def test_a_jpeg_is_decoded_small(tmp_path: Path, name: str, scale: int) -> None:
    path = _save(tmp_path / name)
    part = read_part(path, 3, lambda width, height: Part(1, 2, 9, 11, scale))
    box = (scale, 2 * scale, 10 * scale, 13 * scale)
    means = read_image(path, 3).crop(box).reduce(scale)
    assert part.size == means.size == (9, 11)
    difference = np.asarray(part).astype(int) - np.asarray(means)
    assert np.abs(difference).max() <= 8
    assert np.abs(difference).mean() <= 1


@pytest.mark.parametrize(("name", "orientation"), [("photo.png", 1), ("photo.jpg", 6)])
def test_the_rest_is_decoded_whole(tmp_path: Path, name: str, orientation: int) -> None:
    path = _save(tmp_path / name, orientation)
    part = read_part(path, 3, lambda width, height: Part(1, 2, 9, 11, 4))
    assert part.tobytes() == read_image(path, 3).crop((4, 8, 40, 52)).tobytes()


def test_parts_of_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_photo(path, False)[:9000])
    with pytest.raises(DataError, match=r"a.jpg: cut short or broken \(.*truncated.*\)"):
        read_part(path, 3, lambda width, height: Part(0, 0, 2, 2))


def test_no_format_is_read_that_another_program_would_run(tmp_path: Path) -> None:
    file = tmp_path / "a.eps"
    Image.new("RGB", (4, 4)).save(file)
    with pytest.raises(DataError, match=r"a\.eps: no image in a format that is read"):
        read_image(file, 3)


def test_a_pipe_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (check_image, _pixel):
        with pytest.raises(DataError, match=r"pipe\.png: not a regular file"):
            read(tmp_path / "pipe.png")
