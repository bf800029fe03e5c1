"""What a listing finds, follows once and leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from addkit.data.folders import FolderStore
from addkit.data.formats import unread_format
from addkit.data.images import read_image
from addkit.data.listing import LINKS, LITTER, OTHERS, SPECIAL, Ignored, Lister, list_pictures
from addkit.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/more/2.png", "cat-big/3.png", "dog/4.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(PNG)
    return tmp_path / "in"


def _names(root: Path, ignored: Ignored) -> list[str]:
    return [str(Path(path).relative_to(root)) for path in Lister(root, ignored).below(str(root))]


def test_the_order_is_that_of_the_paths(root: Path) -> None:
    ignored = Ignored()
    names = _names(root, ignored)
    assert names == sorted(names) == ["cat-big/3.png", "cat/1.png", "cat/more/2.png", "dog/4.png"]
    assert ignored.line() == ""


@pytest.mark.parametrize(
    ("link", "target"),
    [
        *(
            ("dog/loop", target)
            for target in (".", "..", "../..", "../cat", "../cat/more", "loop2")
        ),
        *((name, target) for name in ("loop", "a") for target in ("cat", "../in", "..")),
        # Another way to the folder above.
        ("cat/more/loop", "../../../outside/back"),
    ],
)
def test_links_that_lead_back_are_not_followed(root: Path, link: str, target: str) -> None:
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "back").symlink_to(root.parent)
    (root / "dog" / "loop2").symlink_to(root)
    before = _names(root, Ignored())
    (root / link).symlink_to(target)
    ignored = Ignored()
    assert _names(root, ignored) == before
    assert ignored.counts == {LINKS: 2}
    assert str(root / link) in ignored.line()


def test_a_folder_elsewhere_is_listed_once(root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "5.png").write_bytes(PNG)
    (outside / "inner" / "up").symlink_to(outside)
    (outside / "inner" / "home").symlink_to(root.parent)
    (root / "cat" / "link").symlink_to(outside / "inner")
    (root / "dog" / "link").symlink_to(outside)
    (root / "dog" / "file.png").symlink_to(outside / "inner" / "5.png")
    ignored = Ignored()
    names = _names(root, ignored)
    assert names.count("cat/link/5.png") == 1
    assert [name for name in names if name.endswith("5.png")] == ["cat/link/5.png"]
    assert "dog/file.png" in names
    assert ignored.counts == {LINKS: 3}


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "._1.png", ".hidden.png", "Thumbs.db", "THUMBS.DB", "desktop.ini"),
        *("__MACOSX/1.png", ".ipynb_checkpoints/1.png", "@eaDir/1.png", "$RECYCLE.BIN/1.png"),
    ],
)
@pytest.mark.parametrize("place", ["", "cat"])
def test_litter_is_ignored_by_name(root: Path, name: str, place: str) -> None:
    before = _names(root, Ignored())
    path = root / place / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PNG)
    ignored = Ignored()
    assert _names(root, ignored) == before
    assert ignored.counts == {LITTER: 1}
    assert list(FolderStore(root).by_folder(root)) == ["cat", "cat-big", "dog"]


def test_what_is_no_file_is_named(root: Path) -> None:
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "cat" / "gone.png").symlink_to("nowhere")
    (root / "cat" / "circle.png").symlink_to("circle.png")
    ignored = Ignored()
    # A link that leads nowhere is a picture that is missing.
    assert {"cat/gone.png", "cat/circle.png"} <= {*_names(root, ignored)}
    assert ignored.counts == {SPECIAL: 1}


def test_a_folder_that_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    ignored = Ignored()
    assert "dog/4.png" in _names(root, ignored)
    assert len(ignored.unreadable) == 1
    with pytest.raises(DataError, match=r"cat/more: cannot be read"):
        FolderStore(root).by_folder(root)


def test_pictures_by_content(root: Path) -> None:
    pictures = {
        "bare": PNG,
        "wrong.txt": PNG,
        "a.JFIF": b"",
        "b.jp2": b"x",
        "c.heic": b"x",
        "d.dat": b"\0\0\0\x18ftypheic" + bytes(50),
    }
    others = {"notes.txt": b"This is no picture.", "empty": b"", "clip.mp4": b"\0\0\0\x18ftypisom"}
    (root / "x").mkdir()
    for name, content in {**pictures, **others}.items():
        (root / "x" / name).write_bytes(content)
    ignored = Ignored()
    found = list_pictures(root / "x", ignored)
    assert [Path(path).name for path in found] == sorted(pictures)
    assert ignored.counts == {OTHERS: len(others)}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"8BPS", "Photoshop"),
        (b"\xff\x0a", "JPEG XL"),
        (b'<?xml version="1.0"?><svg', "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, head: bytes, name: str) -> None:
    assert name in unread_format(head)
    (tmp_path / "a.jpg").write_bytes(head + bytes(50))
    with pytest.raises(DataError, match=rf"a\.jpg: .*it is .*{name}"):
        read_image(tmp_path / "a.jpg", 3)
