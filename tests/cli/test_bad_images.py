"""Images that are none, in a batch with good ones: each is named, refused or read; none stops it.

ADDKIT_MUTATIONS=2000 in the environment damages so many.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from addkit.cli.sample import find_images
from addkit.data.listing import Ignored

Cli = Callable[..., Any]

COUNT = int(os.environ.get("ADDKIT_MUTATIONS", "200"))
# What Pillow warns of is an error in tests alone.
pytestmark = pytest.mark.filterwarnings("ignore")

GREY = Image.linear_gradient("L").resize((12, 10))
RGB = Image.merge("RGB", [GREY, GREY.rotate(90), GREY.rotate(180)])


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


PNG, JPEG = saved(RGB, "PNG"), saved(RGB, "JPEG")
GIF, WEBP = saved(RGB, "GIF"), saved(RGB, "WEBP")
MOVING = {"save_all": True, "append_images": [RGB.rotate(90)], "duration": 10}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, body: bytes, depth: int = 8, colour: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


REFUSED: dict[str, bytes] = {
    "empty.png": b"",
    "one-byte.png": b"\x89",
    "head-only.png": PNG[:8],
    "cut-in-header.png": PNG[:20],
    "cut.png": PNG[: len(PNG) // 2],
    "cut.gif": GIF[:30],
    "cut.webp": WEBP[: len(WEBP) // 2],
    "head-only.jpg": JPEG[:2],
    "cut-in-tables.jpg": JPEG[:100],
    "zeros.png": bytes(1000),
    "zeros-behind-head.png": PNG[:8] + bytes(1000),
    "noise.jpg": random.Random(0).randbytes(1000),
    "noise-behind-head.jpg": JPEG[:4] + random.Random(1).randbytes(1000),
    "text.jpg": b"this is no image\n" * 50,
    "page.png": b"<!doctype html><title>404</title>",
    "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
    "drawing.svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "archive.png": b"PK\x03\x04" + bytes(100),
    "document.jpg": b"%PDF-1.7\n" + bytes(100),
    "film.webp": b"\x00\x00\x00\x18ftypmp42" + bytes(100),
    "no-width.png": png(0, 10, zlib.compress(b"")),
    "wrong-crc.png": PNG[:-20] + bytes(4) + PNG[-16:],
    "no-pixels.png": png(10, 10, b""),
    "too-few-pixels.png": png(10, 10, zlib.compress(bytes(20))),
    "not-zlib.png": png(10, 10, b"no zlib at all"),
    "bomb.png": png(30_000, 30_000, zlib.compress(bytes(1000))),
    "huge.png": png(2_000_000_000, 2_000_000_000, zlib.compress(bytes(1000))),
    "hundred-megapixels.png": png(10_000, 10_001, zlib.compress(bytes(1000))),
    "float.tif": saved(GREY.convert("F"), "TIFF"),
}

READ: dict[str, bytes] = {
    "print.jpg": saved(RGB.convert("CMYK"), "JPEG"),
    "sixteen-bit.png": saved(GREY.convert("I;16"), "PNG"),
    "sixteen-bit.tif": saved(GREY.convert("I;16"), "TIFF"),
    "one-bit.png": saved(GREY.convert("1"), "PNG"),
    "palette.png": saved(RGB.convert("P"), "PNG"),
    "transparent.png": saved(RGB.convert("RGBA"), "PNG"),
    "transparent-grey.png": saved(GREY.convert("LA"), "PNG"),
    "moving.gif": saved(RGB, "GIF", **MOVING),
    "moving.webp": saved(RGB, "WEBP", **MOVING),
    "moving.png": saved(RGB, "PNG", **MOVING),
    "pages.tif": saved(RGB, "TIFF", save_all=True, append_images=[RGB]),
    "progressive.jpg": saved(RGB, "JPEG", progressive=True),
    "turned.jpg": saved(RGB, "JPEG", exif=exif(6)),
    "wrongly-turned.jpg": saved(RGB, "JPEG", exif=exif(99)),
    "broken-exif.jpg": saved(RGB, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"),
    "named-wrongly.jpg": PNG,
    "without-ending": PNG,
    "one-pixel.png": saved(RGB.resize((1, 1)), "PNG"),
    "thread.png": saved(GREY.resize((1, 20_000)), "PNG"),
    "Ünïcode 😀 図.png": PNG,
    "two\nlines.png": PNG,
    "-q.png": PNG,
    "[bold]x[red].png": PNG,
    "%s {0} $HOME.png": PNG,
    "more-behind.png": PNG + b"more" * 100,
}


@pytest.fixture
def good(tmp_path: Path, digit_images: list[Path]) -> Path:
    return digit_images[0]


def test_there_are_more_than_forty() -> None:
    assert len(REFUSED) + len(READ) > 50


def test_bad_ones_are_named_and_the_others_answered(
    addkit: Cli, digits_run: Path, good: Path
) -> None:
    for name, content in {**REFUSED, **READ}.items():
        Path(name).write_bytes(content)
    names = [f"./{name}" for name in (*REFUSED, *READ)]
    said = addkit("sample", good, *names, good, "--run", digits_run, "--json")
    assert said.code == 1
    names_told = [entry["image"] for entry in said.json]
    assert names_told == [str(good), *REFUSED, *READ, str(good)]
    for entry in said.json:
        assert entry.keys() == {"image", "error"} if entry["image"] in REFUSED else entry["labels"]
    lines_of_json = addkit("sample", good, *names, good, "--run", digits_run, "--jsonl").out
    assert [json.loads(line) for line in lines_of_json.splitlines()] == said.json
    lines = said.err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["error"] * len(REFUSED)
    for line, name in zip(lines, REFUSED, strict=True):
        assert line.startswith(f"error: {name}: ")
    assert "Traceback" not in said.err
    # The good ones alone give the same answers.
    alone = addkit("sample", good, *(f"./{name}" for name in READ), good, "--run", digits_run)
    assert alone.code == 0
    again = addkit("sample", good, *names, good, "--run", digits_run)
    assert (again.code, again.out) == (1, alone.out)


@pytest.mark.parametrize("name", list(REFUSED))
def test_one_alone_is_named(addkit: Cli, digits_run: Path, name: str) -> None:
    Path(name).write_bytes(REFUSED[name])
    said = addkit("sample", name, "--run", digits_run, "--json")
    assert (said.code, [entry.keys() for entry in said.json]) == (1, [{"image", "error"}])
    assert said.err.startswith(f"error: {name}: ")
    assert said.err.count("\n") == 1
    assert "fault of addkit" not in said.err


def test_reasons(addkit: Cli, digits_run: Path) -> None:
    told = {}
    for name, content in REFUSED.items():
        Path(name).write_bytes(content)
    said = addkit("sample", *REFUSED, "--run", digits_run)
    for line in said.err.splitlines():
        name, reason = line.removeprefix("error: ").split(": ", 1)
        told[name] = reason
    assert told["empty.png"] == "empty file"
    assert told["text.jpg"].startswith("no image in a format that is read")
    assert told["cut.png"].startswith("cut short or broken")
    assert told["bomb.png"].startswith("too large to open safely")
    assert told["float.tif"].startswith("floating-point pixels")


def test_pixels_of_a_hundred_millions_are_read(addkit: Cli, digits_run: Path) -> None:
    large = zlib.compress(bytes(10_001) * 10_000, 1)
    Path("large.png").write_bytes(png(10_000, 10_000, large))
    said = addkit("sample", "large.png", "--run", digits_run, "--json")
    assert (said.code, len(said.json)) == (0, 1)


@pytest.fixture
def odd(tmp_path: Path, good: Path) -> Iterator[Path]:
    """A folder with one image, among things that only look like some."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "good.png").write_bytes(good.read_bytes())
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "around").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe.png")
    yield folder


def test_a_folder_of_odd_things(addkit: Cli, digits_run: Path, odd: Path) -> None:
    said = addkit("sample", "odd", "--run", digits_run, "--json")
    assert said.code == 1
    assert [entry["image"] for entry in said.json] == [
        "odd/gone.png",
        "odd/good.png",
        "odd/loop.png",
    ]
    assert ["error" in entry for entry in said.json] == [True, False, True]
    left_out = said.err.splitlines()[-1]
    assert "odd/around" in left_out
    assert "odd/pipe.png" in left_out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder.png", "no image in this folder"),
        ("loop.png", "a link that leads nowhere"),
        ("gone.png", "a link that leads nowhere"),
        ("pipe.png", "neither a file nor a folder; send a pipe to standard input"),
        ("goood.png", 'no such file or folder (did you mean "odd/good.png"?)'),
        ("x" * 300, "cannot be read (File name too long)"),
    ],
)
def test_odd_things_by_name(
    addkit: Cli, digits_run: Path, odd: Path, name: str, reason: str
) -> None:
    said = addkit("sample", f"odd/{name}", "odd/good.png", "--run", digits_run, "--json")
    assert said.code == 1
    assert said.err.startswith(f"error: odd/{name}: {reason}")
    bad, good = said.json
    assert bad["image"] == f"odd/{name}"
    assert bad["error"].startswith(reason)
    assert (good["image"], "error" in good) == ("odd/good.png", False)


def test_no_permission(
    addkit: Cli, digits_run: Path, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Path("secret.png")
    secret.write_bytes(PNG)
    opened = Path.open

    def refuse(self: Path, *words: Any, **more: Any) -> Any:
        if self.name == secret.name:
            raise PermissionError(13, "Permission denied")
        return opened(self, *words, **more)

    # The tests may run as root, whom no mode stops.
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("builtins.open", lambda file, *w, **m: refuse(Path(file), *w, **m))
    said = addkit("sample", secret, good, "--run", digits_run, "--json")
    assert said.code == 1
    assert said.err == "error: secret.png: cannot be read (Permission denied)\n"
    assert said.json[0] == {"image": "secret.png", "error": "cannot be read (Permission denied)"}
    assert len(said.json) == 2


def test_a_folder_without_permission_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    [(name, error)] = find_images(["closed/a.png"], Ignored())
    assert (name, str(error)) == (
        "closed/a.png",
        "closed/a.png: cannot be read (Permission denied)",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_a_name_that_is_no_text(addkit: Cli, digits_run: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Path(name).write_bytes(PNG)
    said = addkit("sample", name, "--run", digits_run, "--json")
    assert (said.code, said.json[0]["image"]) == (0, name)
    assert "caf\\xe9.png" in addkit("sample", name, "--run", digits_run).out


def test_too_large_for_the_memory(
    addkit: Cli, digits_run: Path, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from addkit.data import images

    read = images.read_image

    def short(file: Any, *more: Any) -> Any:
        if str(file) == "large.png":
            raise MemoryError
        return read(file, *more)

    Path("large.png").write_bytes(PNG)
    monkeypatch.setattr(images, "read_image", short)
    said = addkit("sample", "large.png", good, "--run", digits_run, "--json")
    assert said.err == "error: large.png: too large for this machine's memory\n"
    assert said.json[0] == {"image": "large.png", "error": "too large for this machine's memory"}


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Bytes changed, left out, doubled or cut off."""
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        place, length = dice.randrange(len(content) or 1), dice.choice((1, 1, 2, 4, 30))
        new = dice.choice((b"", dice.randbytes(length), bytes(length), b"\xff" * length))
        content = content[:place] + new + content[place + dice.choice((0, length)) :]
    return content[: dice.randrange(len(content) + 1)] if dice.random() < 0.1 else content


def test_damaged_images_stop_nothing(addkit: Cli, digits_run: Path, good: Path) -> None:
    dice = random.Random(0)
    sound = [PNG, JPEG, GIF, WEBP, *(READ[n] for n in READ if n.endswith((".tif", ".jpg", ".gif")))]
    sound += [saved(RGB, kind) for kind in ("BMP", "PPM")]
    names = [f"{number:05d}.png" for number in range(COUNT)]
    for name in names:
        Path(name).write_bytes(damaged(dice.choice(sound), dice))
    said = addkit("sample", good, *names, "--run", digits_run, "--json")
    answered = {entry["image"] for entry in said.json if "error" not in entry} - {str(good)}
    refused = {line.removeprefix("error: ").split(":")[0] for line in said.err.splitlines()}
    warned = {name for name in refused if name.startswith("warning")}
    assert said.code == 1
    assert answered | (refused - warned) == set(names)
    assert not answered & refused
    assert COUNT // 10 < len(answered) < COUNT
