"""Names of images in tables that differ from the files', in every reader of tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from addkit.data.attribute_table import AttributeTable
from addkit.data.caption_folder import CaptionFolder
from addkit.data.settings import AttributeTableConfig, CaptionFolderConfig, DataWarning
from addkit.errors import DataError
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words

Paint = Callable[..., Path]

NAMES = [f"images/é{number}.png" for number in range(12)]


def _attributes(root: Path, names: list[str], **settings: object) -> Any:
    rows = [f'"{name}",{"ab"[i % 2]}' for i, name in enumerate(names)]
    (root / "table.csv").write_text("\n".join(["image,tone", *rows]), "utf-8")
    config = {"file": root / "table.csv", "image_size": 8, **settings}
    return AttributeTable(AttributeTableConfig.model_validate(config))


def _captions(root: Path, names: list[str], **settings: object) -> Any:
    rows = [f'"{name}",a thing' for name in names]
    (root / "captions.csv").write_text("\n".join(["image,caption", *rows]), "utf-8")
    config = CaptionFolderConfig.model_validate({"root": root, "image_size": 8, **settings})
    return CaptionFolder(config, Words(WordsConfig()))


READERS = pytest.mark.parametrize("read", [_attributes, _captions])


@pytest.fixture
def root(tmp_path: Path, paint: Paint) -> Path:
    for name in NAMES:
        paint(tmp_path / name)
    return tmp_path


@READERS
@pytest.mark.parametrize(
    ("written", "difference"),
    [
        (lambda name: normalize("NFD", name), "Unicode form"),
        (lambda name: name.replace("/", "\\"), "backslashes"),
        (lambda name: f".\\{name.upper()}", "backslashes, case"),
        (lambda name: name.removesuffix(".png"), "missing ending"),
    ],
)
def test_names_of_another_form_are_read(
    root: Path, read: Callable[..., Any], written: Callable[[str], str], difference: str
) -> None:
    expected = read(root, NAMES)
    with pytest.warns(DataWarning, match=rf"12 of 12 image names .*\({difference}\)") as caught:
        source = read(root, [*map(written, NAMES)])
    assert len(caught) == 1
    for split in ("train", "test"):
        own, other = source.split(split), expected.split(split)
        assert [own.source(i) for i in range(len(own))] == [
            other.source(i) for i in range(len(other))
        ]


@READERS
def test_two_spellings_of_one_image_do_not_become_two(root: Path, read: Callable[..., Any]) -> None:
    names = [*NAMES, NAMES[0].replace("/", "\\")]
    with (
        pytest.warns(DataWarning, match="1 of 13"),
        pytest.raises(DataError, match=r"csv:14: .*csv:2"),
    ):
        read(root, names)


@READERS
@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("images/é1.jpg", "images/é1.png"),  # another ending is another file
        ("é1.png", "images/é1.png"),
        ("/elsewhere/images/é1.png", "images/é1.png"),
        ("image/é1.png", "images/é1.png"),
        ("images/é99.png", None),  # another number is no guess
    ],
)
def test_the_nearest_name_is_shown(
    root: Path, read: Callable[..., Any], written: str, near: str | None
) -> None:
    with pytest.raises(DataError) as caught:
        read(root, [*NAMES[2:], written])
    line = str(caught.value).splitlines()[1]
    assert "csv:12: " in line
    assert ("did you mean" in line) == (near is not None)
    assert near is None or f'"{near}"' in line


@READERS
def test_a_folder_that_is_set_wrongly(root: Path, read: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r'none of the 12 .*\n.*did you mean "images/é0\.png"'):
        read(root, [Path(name).name for name in NAMES])
