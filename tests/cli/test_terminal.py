"""Control characters of names never reach a terminal, and commands to paste are quoted."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, which
from typing import Any

import pytest
from PIL import Image

from addkit.cli import output
from addkit.cli.output import Output
from addkit.runs.atomic import write_json
from addkit.runs.folder import read_json
from addkit.terminal import addkit_command, printable, quoted

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]

HOSTILE = "a\x1b[2J\x1b]0;t\x07\r\x9b1A\u202eb\x7f\u2066"
"""Clears the screen, names the window, moves the cursor, and turns the direction of text."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def _everything() -> None:
    shown = Output()
    shown.line(HOSTILE + "\nerror: none")
    shown.table([HOSTILE, "n"], [[HOSTILE + "\nb", "1"]], title=HOSTILE)
    shown.text(HOSTILE + "\n")
    shown.hint(addkit_command("sample", HOSTILE))
    output.note(HOSTILE + "\nb")
    output.warn(HOSTILE)
    output.fail(f"{HOSTILE}\nsecond", 1)
    Output(json=True).data({HOSTILE: [HOSTILE]})
    sys.stderr.write(HOSTILE)
    sys.stdout.writelines([HOSTILE])


@pytest.mark.parametrize("kind", [Screen, io.StringIO])
def test_nothing_but_colours_reaches_a_stream(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = kind(), kind()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    output.prepare()
    _everything()
    for text in (out.getvalue(), err.getvalue()):
        assert not CONTROL.search(COLOUR.sub("", text.replace("\r", "")))
        assert "\\x1b[2J" in text
    # One line, whatever the name contains.
    assert "\nerror: none" not in out.getvalue()


REFUSED: list[tuple[str, ...]] = [
    (HOSTILE,),
    (f"--{HOSTILE}",),
    ("--plugin-file", HOSTILE, "env"),
    ("train", HOSTILE),
    ("train", "digits", f"--{HOSTILE}"),
    ("train", "digits", "--set", HOSTILE),
    ("train", "digits", "--set", f"{HOSTILE}.a=1"),
    ("train", "digits", "--set", f"loss.name={HOSTILE}"),
    ("train", "digits", "--set", f"training.epochs={HOSTILE}"),
    ("train", "image-folder", "--set", f"data.root={HOSTILE}"),
    ("sample", HOSTILE),
    ("sample", "x.png", "--run", HOSTILE),
    ("evaluate", "--run", HOSTILE),
    ("report", HOSTILE),
    ("plot", HOSTILE),
    ("ablate", HOSTILE),
    ("ablate", "--loss", HOSTILE),
    ("ablate", "--axis", HOSTILE),
    ("ablate", "--controls", HOSTILE),
    ("recipes", "show", HOSTILE),
    ("recipes", "diff", HOSTILE, HOSTILE),
    ("runs", "show", HOSTILE),
    ("runs", "compare", HOSTILE, HOSTILE),
    ("data", "shard", HOSTILE, "out"),
    ("plugins", "show", HOSTILE, HOSTILE),
    ("plugins", "check", HOSTILE),
    ("plugins", "new", HOSTILE),
    ("schedule", "show", HOSTILE),
]


@pytest.mark.parametrize(
    "name", [HOSTILE, "long" * 75, "caf\udce9"], ids=["hostile", "long", "bytes"]
)
@pytest.mark.parametrize("words", REFUSED, ids=lambda words: printable(" ".join(words)))
def test_errors_of_every_command(addkit: Cli, words: tuple[str, ...], name: str) -> None:
    """Also of names that are too long for the disk, and of such that are no UTF-8."""
    said = addkit(*(word.replace(HOSTILE, name) for word in words))
    assert said.code in (1, 2), said.err
    assert not CONTROL.search(said.out + said.err)
    assert "fault of addkit" not in said.err


def test_results_of_every_command(
    addkit: Cli, tmp_path: Path, digits_run: Path, digit_images: list[Path]
) -> None:
    run, image = tmp_path / "runs" / HOSTILE, tmp_path / f"{HOSTILE}.png"
    copytree(digits_run, run)
    facts = read_json(run / "facts.json")
    facts["class_names"] = [f"{HOSTILE}{name}" for name in facts["class_names"]]
    write_json(run / "facts.json", facts)
    image.write_bytes(digit_images[0].read_bytes())
    for words in (
        ("sample", image.name, "--run", run),
        ("sample", image.name, "--run", run, "--json"),
        ("sample", image.name, "gone.png", "--run", run, "--jsonl"),
        ("evaluate", "--run", run, "--no-audit"),
        ("runs", "list"),
        ("runs", "show", run),
        ("runs", "compare", run, run),
    ):
        said = addkit(*words)
        assert not CONTROL.search(said.out + said.err), words
        assert re.search("x1b|u001b", said.out + said.err), words


@pytest.mark.skipif(which("bash") is None, reason="no bash")
def test_a_shell_reads_what_was_quoted() -> None:
    words = [HOSTILE, "a b", "it's", "$(x)", "`x`", "\\", "-", "", "é", "~", "*", "a\nb", "#"]
    words += ["caf\udce9 'x\\"]
    line = " ".join(map(quoted, words))
    assert not CONTROL.search(line) and "\n" not in line
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1] == words


def test_every_command_to_paste_is_quoted_in_one_place() -> None:
    """A command within an f-string would put values into it as they are."""
    found = []
    for root in (ROOT / "addkit", *(ROOT / "plugins").glob("*/src")):
        for path in sorted(root.rglob("*.py")):
            text = path.read_text("utf-8")
            if path.name != "terminal.py" and re.search("addkit [a-z].*{|shlex", text):
                found += [f"{path.name}:{line}" for line in _unquoted(text)]
    assert found == []
    assert _unquoted('f"run `addkit report {path}` again"') == [1]
    assert _unquoted('import shlex\nshlex.quote("a")') == [2]


def _unquoted(source: str) -> list[int]:
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.JoinedStr(values=parts):
                values = [part.value if isinstance(part, ast.Constant) else "{}" for part in parts]
                if re.search(
                    r"(`|: |^|  )addkit (?!has )[a-z][^`;,:]*\{\}", "".join(map(str, values))
                ):
                    lines.append(node.lineno)
            case (
                ast.Attribute(value=ast.Name(id="shlex"), attr="quote")
                | ast.ImportFrom(module="shlex")
            ):
                lines.append(node.lineno)
    return lines


def test_a_warning_of_a_library_names_the_file(
    addkit: Cli, digits_run: Path, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(image: Image.Image) -> Image.Image:
        warnings.warn("odd EXIF", stacklevel=1)
        return image

    monkeypatch.setattr("addkit.data.images._upright", warned)
    warnings.simplefilter("always")
    said = addkit("sample", *digit_images, "--run", digits_run)
    assert f"warning: {digit_images[0]}: odd EXIF" in said.err
