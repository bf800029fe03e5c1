"""`sample` of many files: answers in order as they come, in constant memory."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from addkit.cli.sample import find_images
from addkit.data import images
from addkit.data.listing import Ignored
from addkit.data.pictures import source_of
from addkit.model import Network

Cli = Callable[..., Any]
FORMS = pytest.mark.parametrize("form", [(), ("--json",), ("--jsonl",)], ids=" ".join)


def names_in(out: str, form: tuple[str, ...]) -> list[str]:
    """The names of the files that were answered or refused."""
    if form:
        items = json.loads(out) if form == ("--json",) else map(json.loads, out.splitlines())
        return [item["image"] for item in items]
    return [line.split()[0] for line in out.splitlines() if line.startswith("in/")]


@pytest.fixture
def folder(tmp_path: Path, digit_images: list[Path]) -> list[str]:
    """The names of nine digits in tmp_path/in, in batches of 1, 2, 4 and 2."""
    (tmp_path / "in" / "a").mkdir(parents=True)
    names = [f"in/a/{number}.png" for number in range(4)] + [f"in/b{n}.png" for n in range(5)]
    for number, name in enumerate(names):
        shutil.copy(digit_images[number % 3], tmp_path / name)
    return names


@FORMS
def test_the_first_row_is_printed_before_the_last_file_is_read(
    addkit: Cli,
    digits_run: Path,
    folder: list[str],
    form: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, printed, seen = images.read_image, threading.Event(), []

    class Watched(io.StringIO):
        encoding = "utf-8"

        def flush(self) -> None:
            if "b0.png" not in self.getvalue() and "0.png" in self.getvalue():
                printed.set()

    def slow(file: Any, *more: Any) -> Any:
        if str(file) == folder[-1]:
            seen.append(printed.wait(20))
        return read(file, *more)

    monkeypatch.setattr(images, "read_image", slow)
    stdout = Watched()
    monkeypatch.setattr(sys, "stdout", stdout)
    assert addkit("sample", "in", "--run", digits_run, *form).code == 0
    assert seen == [True]
    assert names_in(stdout.getvalue(), form) == folder


@FORMS
def test_a_bad_file_among_good_ones_is_read_once_and_named_in_order(
    addkit: Cli,
    digits_run: Path,
    folder: list[str],
    form: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = addkit("sample", "in", "--run", digits_run, "--steps", "3", *form, "--read-out", "last")
    read, files = images.read_image, []
    Path("in/a/00.png").write_bytes(b"none")
    Path("in/a/2a.png").write_bytes(Path(folder[0]).read_bytes()[:60])

    def watched(file: Any, *more: Any) -> Any:
        files.append(str(file))
        time.sleep(0.01 * (hash(str(file)) % 3))  # read in another order
        return read(file, *more)

    monkeypatch.setattr(images, "read_image", watched)
    said = addkit("sample", "in", "--run", digits_run, "--steps", "3", *form, "--read-out", "last")
    bad = ["in/a/00.png", "in/a/2a.png"]
    every = sorted([*folder, *bad])
    assert said.code == 1
    assert sorted(files) == every
    assert [line.split(": ")[1] for line in said.err.splitlines() if "error" in line] == bad
    if form:
        assert names_in(said.out, form) == every
    else:
        # The noise of good files does not depend on bad ones.
        assert [line.split() for line in said.out.splitlines()] == [
            line.split() for line in alone.out.splitlines()
        ]


class Ended(BaseException):
    """As a signal raises it."""


@FORMS
@pytest.mark.parametrize("end", [KeyboardInterrupt, Ended])
def test_an_interruption_keeps_what_was_printed(
    addkit: Cli,
    digits_run: Path,
    folder: list[str],
    form: tuple[str, ...],
    end: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    condition, batches = Network.condition, []

    def interrupted(self: Network, images: Any, *more: Any) -> Any:
        batches.append(len(images))
        if len(batches) == 3:
            raise end
        return condition(self, images, *more)

    monkeypatch.setattr(Network, "condition", interrupted)
    words = ("sample", "in", "--run", digits_run, *form)
    if end is Ended:
        with pytest.raises(Ended):
            addkit(*words)
        out = capsys.readouterr().out
    else:
        said = addkit(*words)
        out = said.out
        assert said.code == 130
    assert batches == [1, 2, 4]
    assert names_in(out, form) == folder[:3]


@FORMS
def test_a_closed_pipe_ends_it_quietly(
    addkit: Cli,
    digits_run: Path,
    folder: list[str],
    form: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Closed(io.StringIO):
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    said = addkit("sample", "in", "--run", digits_run, *form)
    assert said.err == ""


def test_folders_are_listed_as_they_are_read(
    folder: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), scandir(path))[1])
    files = find_images(["in", "in/a"], Ignored())
    assert (next(files)[0], listed) == (folder[0], ["in", "in/a"])
    assert [name for name, _ in files] == [*folder[1:], *folder[:4]]
    assert listed == ["in", "in/a", "in/a"]


def test_at_most_some_files_are_in_flight(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    pixels = images.Pixels(2, 1, (0.0,), (1.0,), 2)
    listed = 0

    def files() -> Any:
        nonlocal listed
        for listed in range(1, 101):  # noqa: B007
            yield source_of(tmp_path / "x.png", "")

    for number, levels in enumerate(images.read_ahead(files(), pixels, 7)):
        assert levels.shape == (1, 2, 2)
        assert listed - number <= 7
    assert number == 99


def test_the_missing_run_is_named_first(addkit: Cli) -> None:
    said = addkit("sample", "--run", "nowhere", "x.png")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: nowhere: ")
    assert "x.png" not in said.err
