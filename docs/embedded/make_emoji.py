"""Builds addkit/data/embedded/emoji.zip.

    python docs/embedded/make_emoji.py PAIRS EMOJI_TEST

PAIRS is a folder in COCO's layout: captions.json (each image with the extra keys `emoji` and
`base`), images/ (136 x 136 on white, drawn with Debian's fonts-noto-color-emoji) and
splits/A_val.txt (ids of the images in `test`). EMOJI_TEST is the file emoji-test.txt of Debian's
unicode-data. The zip holds captions.csv and each drawing as a WebP file of 64 x 64 pixels.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from PIL import Image

SIDE, COLOURS = 64, 32
TARGET = Path(__file__).parents[2] / "addkit" / "data" / "embedded" / "emoji.zip"
COLUMNS = ("file", "emoji", "base", "caption", "split", "group", "gender", "tone")

GROUPS = {
    "Smileys & Emotion": "smiley",
    "Animals & Nature": "nature",
    "Food & Drink": "food",
    "Travel & Places": "place",
    "Activities": "object",
    "Objects": "object",
    "Symbols": "symbol",
    "Flags": "flag",
}
SUBGROUPS = {
    "person": "person",
    "person-gesture": "person",
    "person-symbol": "person",
    "person-role": "role",
    "person-fantasy": "role",
    "person-activity": "activity",
    "person-sport": "activity",
    "person-resting": "activity",
    "family": "family",
}
"""Of People & Body, more than half of all; the rest of its subgroups are hands."""
PEOPLE = frozenset(SUBGROUPS.values())

WOMEN = {"woman", "women", "girl", "mrs.", "mermaid", "princess"}
MEN = {"man", "men", "boy", "santa", "merman", "prince"}
TONE = re.compile(r"(medium-light|medium-dark|light|medium|dark) skin tone")

VARIANT, JOINER, TONES = "\ufe0f", "\u200d", "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def main(pairs: Path, emoji_test: Path) -> None:
    """Write the zip; the same bytes for the same input and the same libwebp."""
    groups = unicode_groups(emoji_test)
    content = json.loads((pairs / "captions.json").read_text("utf-8"))
    captions = {one["image_id"]: one["caption"] for one in content["annotations"]}
    tests = set(map(int, (pairs / "splits" / "A_val.txt").read_text().split()))
    rows = [
        row(image, captions[image["id"]], image["id"] in tests, groups)
        for image in content["images"]
    ]
    with ZipFile(TARGET, "w") as archive:
        write(archive, "captions.csv", table(rows), ZIP_DEFLATED)
        for image, one in zip(content["images"], rows, strict=True):
            drawing = small(pairs / "images" / image["file_name"])
            write(archive, one["file"], drawing, ZIP_STORED)


def unicode_groups(emoji_test: Path) -> dict[str, str]:
    """Our group of each emoji that the file lists, without variation selectors."""
    groups: dict[str, str] = {}
    group = ""
    for line in emoji_test.read_text("utf-8").splitlines():
        if line.startswith("# group: "):
            outer = line.removeprefix("# group: ")
        elif line.startswith("# subgroup: "):
            inner = line.removeprefix("# subgroup: ")
            group = GROUPS.get(outer) or SUBGROUPS.get(inner, "hand")
        elif line and not line.startswith("#"):
            points = line.split(";")[0].split()
            groups["".join(chr(int(point, 16)) for point in points).replace(VARIANT, "")] = group
    return groups


def row(image: dict[str, Any], caption: str, test: bool, groups: dict[str, str]) -> dict[str, str]:
    """A line of captions.csv."""
    group = "family" if image["base"].startswith("family") else group_of(image["emoji"], groups)
    return {
        "file": f"{Path(image['file_name']).stem}.webp",
        "emoji": image["emoji"],
        "base": image["base"],
        "caption": caption,
        "split": "test" if test else "train",
        "group": group,
        "gender": gender_of(caption, group),
        "tone": tone_of(caption),
    }


def group_of(emoji: str, groups: dict[str, str]) -> str:
    """Its group; of an emoji younger than the file, that of the longest one that it begins with."""
    return next(groups[one] for one in ancestors(emoji.replace(VARIANT, "")) if one in groups)


def ancestors(emoji: str) -> Iterator[str]:
    """The emoji, then without its skin tones, then without its last joined parts."""
    yield emoji
    plain = emoji.translate(dict.fromkeys(map(ord, TONES)))
    while plain:
        yield plain
        plain = plain.rpartition(JOINER)[0]


def gender_of(caption: str, group: str) -> str:
    """By the caption's words; people of no named gender are `person`, all else is `none`."""
    if group not in PEOPLE:
        return "none"
    words = set(caption.lower().split())
    women, men = bool(words & WOMEN), bool(words & MEN)
    return {(1, 0): "woman", (0, 1): "man", (1, 1): "both", (0, 0): "person"}[women, men]


def tone_of(caption: str) -> str:
    """The caption's skin tone, `none` if it names none, empty if it names two different ones."""
    tones = set(TONE.findall(caption))
    return "" if len(tones) > 1 else next(iter(tones), "none")


def small(path: Path) -> bytes:
    """The drawing, 64 x 64 and in 32 colours of its own, as a lossless WebP file.

    Half the error of lossy WebP of this size, and every decoder gives the same pixels.
    """
    stream = io.BytesIO()
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    few = resized.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).convert("RGB")
    few.save(stream, "WEBP", lossless=True, quality=100, method=6)
    return stream.getvalue()


def table(rows: list[dict[str, str]]) -> bytes:
    """captions.csv."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode("utf-8")


def write(archive: ZipFile, name: str, content: bytes, compression: int) -> None:
    """A member without a date of its own."""
    archive.writestr(ZipInfo(name), content, compression)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
