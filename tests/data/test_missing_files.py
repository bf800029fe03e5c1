from __future__ import annotations

import os
from pathlib import Path

import pytest

from addkit.data.folders import missing_files, shortened


def test_folders_are_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / "2.png").touch()
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(path), scandir(path))[1])
    names = ("a/1.png", "a/3.png", "2.png", "b/1.png", "b/2.png")
    paths = [f"{tmp_path}/{name}" for name in names]
    assert missing_files(paths) == [paths[1], paths[3], paths[4]]
    assert listed == [f"{tmp_path}/a", f"{tmp_path}", f"{tmp_path}/b"]
    monkeypatch.chdir(tmp_path)
    assert missing_files(["2.png", "4.png"]) == ["4.png"]


def test_long_lists_are_shortened() -> None:
    lines = [str(number) for number in range(25)]
    assert shortened(lines[:20]) == "\n  ".join(lines[:20])
    assert shortened(lines) == "\n  ".join([*lines[:20], "and 5 more"])
