"""One place that writes: data to stdout, talk to stderr.

Colour and movement are for terminals: where there is none, and under NO_COLOR, TERM=dumb or CI, the
text is plain and no line is broken. What an encoding cannot say is said in ASCII.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console


WIDE = 10_000
"""Characters of a line where there is no terminal: a table is never cut for a program."""
SHORT = 12
"""Letters in the heading of a column of numbers that never wraps."""

SPELLED = {
    "█": "#",
    "░": "-",
    "▁": "_",
    "─": "-",
    "│": "|",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "✓": "+",
    "✗": "x",
    "–": "-",
    "—": "-",
    "…": "...",
    "•": "*",
    "·": ".",
    "×": "x",
    "±": "+-",
    "“": '"',
    "”": '"',
    "’": "'",
}
"""Signs in ASCII."""

_COLOUR = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""Variables by which rich writes for a terminal where there is none."""

_quiet = False


class Output:
    """Writes a command's results for a person, as JSON, or as JSON lines.

    Args:
        json: one JSON value on stdout.
        jsonl: one JSON value a line on stdout.
    """

    def __init__(self, *, json: bool = False, jsonl: bool = False) -> None:
        self.json, self.jsonl = json, jsonl

    @property
    def for_people(self) -> bool:
        """True if stdout is for reading, not for a program."""
        return not (self.json or self.jsonl)

    def data(self, value: Any) -> None:
        """A machine's result: the whole value, or its items a line each."""
        if self.jsonl:
            for item in value if isinstance(value, list) else [value]:
                print(_json(item))
        else:
            print(_json(value, indent=2))

    def text(self, text: str) -> None:
        """A text as it is, such as a file's."""
        print(text, end="")

    def hint(self, command: str) -> None:
        """What a person may type next; nothing for a program."""
        if self.for_people:
            hint(command)

    def line(self, text: str = "") -> None:
        """A line of the result for people."""
        stdout().print(text, highlight=False, markup=False)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        title: str | None = None,
        words: int = 1,
    ) -> None:
        """A table for people; the first `words` columns to the left, numbers to the right.

        Where it is too wide, what a row is called stays whole, and no text is cut off.
        """
        if not _is_terminal(sys.stdout) and not _COLOUR & os.environ.keys():
            self.text(_plain_table([columns, *rows], title, words))
            return
        from rich.table import Table

        cells = [[_plain(cell) for cell in row] for row in rows]
        named = max((len(row[0]) for row in cells), default=0) <= stdout().width // 2
        table = Table(title=title and _plain(title), box=None, pad_edge=False, title_justify="left")
        for number, column in enumerate(columns):
            side: Literal["left", "right"] = "left" if number < words else "right"
            # rich takes room from the widest of those that wrap: texts, and headings of runs.
            whole = named if number == 0 else number >= words and len(column) <= SHORT
            table.add_column(column, justify=side, no_wrap=whole, overflow="fold")
        for row in cells:
            table.add_row(*row)
        stdout().print(table)


def prepare() -> None:
    """Make both streams able to take any text, whatever their encoding."""
    codecs.register_error("addkit-ascii", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="addkit-ascii")


def finish() -> None:
    """Write out what is left; a reader that has gone away, such as `head -1`, is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more as it ends, and would tell of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def set_quiet(quiet: bool) -> None:
    """Whether stderr gets errors alone."""
    global _quiet
    _quiet = quiet


def animated() -> bool:
    """True if stderr is a terminal where things may move, and a person who wants to see it."""
    return _is_terminal(sys.stderr) and not _quiet


def stdout() -> Console:
    """Where results go; plain and as wide as needed where it is no terminal."""
    return _console(sys.stdout, to_stderr=False)


def stderr() -> Console:
    """Where talk goes."""
    return _console(sys.stderr, to_stderr=True)


def note(text: str) -> None:
    """A line for the person at the terminal, not part of the result."""
    if not _quiet:
        stderr().print(text, highlight=False, markup=False, style="dim", soft_wrap=True)


def hint(command: str) -> None:
    """The command that a person may want next; with the plugin files that this one had."""
    files = os.environ.get("ADDKIT_PLUGIN_FILES", "").split(os.pathsep)
    more = "".join(f" --plugin-file {shlex.quote(_near(file))}" for file in files if file)
    note(f"next: {command}{more if command.startswith('addkit ') else ''}")


def _near(file: str) -> str:
    """Relative where it lies below the working directory."""
    here = Path.cwd()
    return str(Path(file).relative_to(here)) if Path(file).is_relative_to(here) else file


def warn(text: str) -> None:
    """Something that the person should know."""
    if not _quiet:
        stderr().print(f"[yellow]warning:[/yellow] {_plain(text)}", highlight=False, soft_wrap=True)


def fail(text: str, code: int) -> int:
    """Print an error, each line with its own `error:`; gives the exit code back."""
    for line in text.splitlines():
        stderr().print(
            f"[bold red]error:[/bold red] {_plain(line)}", highlight=False, soft_wrap=True
        )
    return code


def _console(stream: TextIO, *, to_stderr: bool) -> Console:
    from rich.console import Console

    if _is_terminal(stream):
        return Console(stderr=to_stderr)
    terminal = None if _COLOUR & os.environ.keys() else False
    return Console(stderr=to_stderr, soft_wrap=True, width=WIDE, force_terminal=terminal)


def _plain_table(rows: Sequence[Sequence[str]], title: str | None, words: int) -> str:
    """A table for a program or a file: no line is cut, and rich (0.1 s) is not loaded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [title] if title else []
    for row in rows:
        cells = [
            cell.ljust(width) if index < words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _is_terminal(stream: TextIO) -> bool:
    """A CI's pseudo-terminal shows a log, not a screen."""
    plain = os.environ.get("TERM") == "dumb" or os.environ.get("CI", "") not in ("", "0", "false")
    return stream.isatty() and not plain


def _json(value: Any, indent: int | None = None) -> str:
    """Escaped where stdout could not say it: a program must get the very value."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """The handler of what cannot be encoded: known signs in ASCII, bytes of file names as \\xNN."""
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(map(_sign, signs)), error.end


def _sign(sign: str) -> str:
    # Python keeps each byte of a file name that is no UTF-8 as one of these.
    if "\udc80" <= sign <= "\udcff":
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return SPELLED.get(sign, "?")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
