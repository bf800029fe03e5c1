"""Data on stdout, talk on stderr, and plain text where nobody has a screen."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from addkit.cli import output
from addkit.cli.main import _WarningPrinter
from addkit.cli.output import Output
from addkit.data.images import read_image
from addkit.errors import AddkitWarning, reading

Cli = Callable[..., Any]

MAIN = [sys.executable, "-c", "from addkit.cli.main import main; main()"]


class Encoded(io.TextIOWrapper):
    """A stream of another encoding, such as Windows gives."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def told(self) -> str:
        self.flush()
        written = self.buffer.getvalue()  # type: ignore[attr-defined]
        return str(written.decode(self.encoding))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Encoded]:
    """Puts such a stream in place of stdout and stderr."""

    def swap(encoding: str) -> Encoded:
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name, raising=False)
        stream = Encoded(encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        output.prepare()
        return stream

    return swap


def test_warnings_of_libraries_name_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # An EXIF block that announces more entries than it has.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0"
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=exif)
    output.prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _WarningPrinter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: read_image(tmp_path / name, 3), ("a.jpg", "b.jpg")))
        warnings.warn("elsewhere", stacklevel=1)
        with reading("c.jpg"):
            warnings.warn("our own", AddkitWarning, stacklevel=1)
    lines = sorted(capsys.readouterr().err.splitlines())
    assert lines[2:] == ["warning: elsewhere", "warning: our own"]
    for line, name in zip(lines, ("a.jpg", "b.jpg"), strict=False):
        assert line.startswith(f"warning: {tmp_path / name}: Corrupt EXIF")


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", "█░ → ≤ é … 図 caf\\xe9\n"),
        ("cp1252", "#- -> <= é … \\u56f3 caf\\xe9\n"),
        ("ascii", "#- -> <= \\xe9 ... \\u56f3 caf\\xe9\n"),
    ],
)
def test_what_an_encoding_cannot_say(
    encoded: Callable[[str], Encoded], encoding: str, told: str
) -> None:
    stream = encoded(encoding)
    Output().line("█░ → ≤ é … 図 caf\udce9")
    assert stream.told() == told


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_json_loses_nothing(encoded: Callable[[str], Encoded], encoding: str) -> None:
    stream = encoded(encoding)
    value = {"a": "é → 図 \udce9", "b": [1.5, None]}
    Output(json=True).data(value)
    Output(jsonl=True).data([value, value])
    first, *rest = stream.told().rpartition("}\n{")[0].partition("\n}")
    assert json.loads(first + rest[0]) == value


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_tables_errors_and_talk_in_any_encoding(
    encoded: Callable[[str], Encoded], encoding: str
) -> None:
    stream = encoded(encoding)
    Output().table(["a → b"], [["█ 図"]], title="≥")
    output.warn("→")
    output.note("✓")
    output.hint("addkit evaluate --run 図")
    assert output.fail("✗ 図", 2) == 2
    text = stream.told()
    for part in (
        ">=",
        "a -> b",
        "# \\u56f3",
        "warning: ->",
        "next: addkit evaluate --run \\u56f3",
        "error: x \\u56f3",
    ):
        assert part in text


def test_every_sign_is_spelled_in_ascii() -> None:
    assert all(told.isascii() and told for told in output.SPELLED.values())


def test_a_table_is_never_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture) -> None:
    Output().table(["name", *"abc"], [["x" * 300, "1" * 200, "2" * 200, "3" * 200]])
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert all(number * 200 in out for number in "123")


def test_a_text_is_written_as_it_is(capsys: pytest.CaptureFixture) -> None:
    Output().text("[bold]a[/bold]\n" + "x " * 300)
    assert capsys.readouterr().out == "[bold]a[/bold]\n" + "x " * 300


def test_hints_are_for_people(capsys: pytest.CaptureFixture) -> None:
    Output().hint("addkit report")
    Output(json=True).hint("addkit report")
    Output(jsonl=True).hint("addkit report")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "next: addkit report\n")


@pytest.mark.parametrize("words", [["-q", "runs", "list"], ["runs", "list", "--quiet"]])
def test_quiet_leaves_errors_alone(addkit: Cli, words: list[str]) -> None:
    assert addkit("runs", "list").err
    assert addkit(*words).err == ""
    assert addkit("runs", "list").err
    said = addkit("recipes", "show", "digts", "-q")
    assert (said.code, said.err[:13]) == (2, "error: digts:")


def test_quiet_behind_two_dashes_is_a_word(addkit: Cli) -> None:
    assert addkit("recipes", "show", "--", "-q").err.startswith("error: -q: no such file")


def _run(words: list[str], **environment: str) -> bytes:
    """What the command writes to a terminal of its own."""
    pty = pytest.importorskip("pty")
    inner, outer = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    known = {**kept, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    done = subprocess.Popen([*MAIN, *words], stdout=outer, stderr=outer, stdin=outer, env=known)
    os.close(outer)
    told = b""
    try:
        while part := os.read(inner, 4096):
            told += part
    except OSError:  # how Linux says that the other side has gone
        pass
    finally:
        os.close(inner)
        done.wait()
    return told


@pytest.mark.parametrize(
    ("environment", "colour", "style"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, False, True),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"CI": "true"}, False, False),
        ({"CI": "true", "NO_COLOR": "1"}, False, False),
        ({"CI": "true", "FORCE_COLOR": "1"}, True, True),
        ({"GITHUB_ACTIONS": "true", "CI": "true"}, False, False),
    ],
)
def test_colour(environment: dict[str, str], colour: bool, style: bool) -> None:
    told = _run(["recipes", "show", "digts"], **environment)
    assert b"error:" in told
    assert (re.search(rb"\x1b\[[0-9;]*3[0-7]", told) is not None) == colour
    assert (b"\x1b[" in told) == style


def test_no_colour_and_no_movement_in_a_pipe() -> None:
    for more in ({}, {"GITHUB_ACTIONS": "true"}):
        done = subprocess.run(
            [*MAIN, "recipes", "list"], capture_output=True, env={**os.environ, **more}, check=True
        )
        assert b"\x1b" not in done.stdout + done.stderr


def test_animation_is_for_people_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not output.animated()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert output.animated()
    for name, value in (("CI", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not output.animated()
    output.set_quiet(True)
    try:
        assert not output.animated()
    finally:
        output.set_quiet(False)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipe")
@pytest.mark.parametrize(
    "words", ["recipes list", "schema", "recipes show digits", "-h", "recipes list --json"]
)
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, words: str) -> None:
    script = f'"$0" -c "from addkit.cli.main import main; main()" {words} | head -c 1'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert len(done.stdout) == 1
    assert "Traceback" not in done.stderr
    assert "rror" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_rows_keep_their_names_where_there_is_little_room(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    names = ["digits-20261129-083001", "digits-20261129-083055"]
    heads = ["score", *names, f"{names[1]} minus {names[0]}"]
    Output().table(heads, [["top-1 %", "15.40", "15.21", "-0.19"]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("top-1 %")] == [
        ["top-1", "%", "15.40", "15.21", "-0.19"]
    ]
    run = "runs/digits-20261129-083001"
    Output().table(["run", "what", "more"], [[run, "x" * 60, "y" * 30]], words=3)
    assert run in capsys.readouterr().out


def test_a_narrow_terminal_leaves_out_the_least_important_columns(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads, row = ["run", "a" * 10, "b" * 10, "c" * 10], ["x", "1", "2", "3"]
    optional = ["c" * 10, "a" * 10]
    Output().table(heads, [row], optional=optional)
    assert capsys.readouterr().out.split("\n")[1].split() == row
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for columns, kept in ((39, "x123"), (38, "x12"), (27, "x12"), (26, "x2"), (10, "x2")):
        monkeypatch.setenv("COLUMNS", str(columns))
        Output().table(heads, [row], optional=optional)
        lines = capsys.readouterr().out.splitlines()
        assert "".join(lines[-1].split()) == kept


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no file that is always full")
@pytest.mark.parametrize("word", ["schema", "--version"])
def test_results_that_stdout_cannot_take(
    addkit: Any, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        said = addkit(word)
    assert said.code == 1
    assert said.err.startswith("error: the output: ")
    assert "fault" not in said.err
