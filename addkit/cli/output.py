"""All output of commands: results to stdout, messages to stderr.

Colour and movement are for terminals: where there is none, and under NO_COLOR, TERM=dumb or CI, the
text is plain and no line is broken. Characters that an encoding lacks are replaced by ASCII, and
control characters, which may come with any name, never reach a stream.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TextIO, cast

from addkit.cli.spinner import Spinner
from addkit.terminal import printable, quoted

if TYPE_CHECKING:
    from rich.console import Console


WIDE = 10_000
"""Characters of a line where there is no terminal, so that a table is never cut for a program."""
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
"""Variables with which rich writes as for a terminal."""

_quiet = False
_spinner: Spinner | None = None


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
        """Print a result for programs: the whole value, or its items a line each."""
        if self.jsonl:
            for item in value if isinstance(value, list) else [value]:
                print(_json(item))
        else:
            print(_json(value, indent=2))

    def text(self, text: str) -> None:
        """Print a text of several lines as it is, such as a file's."""
        print(printable(text, keep="\n\t"), end="")

    def hint(self, command: str) -> None:
        """Print a command to type next; nothing for a program."""
        if self.for_people:
            hint(command)

    def line(self, text: str = "") -> None:
        """Print a line of the result for people."""
        text = printable(text)
        if _is_plain(sys.stdout):
            print(text)
            return
        # No markup: a text with square brackets, such as a recipe's table, is no style.
        stdout().print(text, highlight=False, markup=False)

    @contextmanager
    def items(self) -> Iterator[Callable[[Any], None]]:
        """A function that prints an item of a list for programs at once; `data` prints it whole.

        The list is closed even if an exception ends it.
        """
        opened = False

        def add(item: Any) -> None:
            nonlocal opened
            if self.jsonl:
                print(_json(item), flush=True)
                return
            # A line each: indented, they would take a quarter of the time that small images take.
            # In one piece, and noted before: most signals come while a slow reader is waited for.
            text, opened = f"{',' if opened else '['}\n  {_json(item)}", True
            print(text, end="", flush=True)

        try:
            yield add
        finally:
            if opened:
                print("\n]")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        title: str | None = None,
        words: int = 1,
        optional: Sequence[str] = (),
    ) -> None:
        """Print a `TableInParts` whole."""
        TableInParts(columns, title, words, optional=optional).add(rows)


class TableInParts:
    """Prints a table for people, part by part; a column is as wide as its widest cell so far.

    Where it is too wide, names of rows stay whole, and texts wrap instead of being cut.

    Args:
        columns: their headings.
        title: the line above them.
        words: number of columns that are set to the left; those of numbers are set to the right.
        widths: the least width of each column.
        optional: headings of columns that are left out of a terminal that is too narrow for all,
            the first one first.
    """

    def __init__(
        self,
        columns: Sequence[str],
        title: str | None = None,
        words: int = 1,
        widths: Sequence[int] = (),
        optional: Sequence[str] = (),
    ) -> None:
        self._columns, self._title = [*map(printable, columns)], title and printable(title)
        self._words = words
        # `map` would end with the shorter one.
        self._widths = [
            max(len(column), *widths[number : number + 1], 0)
            for number, column in enumerate(self._columns)
        ]
        self._optional, self._left_out = [*map(printable, optional)], set[int]()
        self._begun = False

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Print these rows; the headings come before the first, even if there are none."""
        cells = [[*map(printable, row)] for row in rows]
        if self._begun and not cells:
            return
        columns = zip(self._widths, *cells, strict=True)
        self._widths = [max(width, *map(len, column), 0) for width, *column in columns]
        heading, self._begun = not self._begun, True
        if _is_plain(sys.stdout):
            # rich (0.1 s to load) is not needed, and no line is cut. Such as `{:<9}  {:>5}`.
            line = "  ".join(
                f"{{:{'<' if number < self._words else '>'}{width}}}"
                for number, width in enumerate(self._widths)
            )
            lines = [line.format(*row).rstrip() for row in [self._columns] * heading + cells]
            if heading and self._title:
                lines.insert(0, self._title)
            print("\n".join(lines), flush=True)
            return
        from rich.table import Table

        available = stdout().width

        def fits() -> bool:
            kept = [w for number, w in enumerate(self._widths) if number not in self._left_out]
            return sum(kept) + 2 * (len(kept) - 1) <= available

        # Of the first rows alone, since the headings stand above all of them.
        optional = [self._columns.index(name) for name in self._optional] if heading else []
        while not fits() and optional:
            self._left_out.add(optional.pop(0))
        # Names wider than half of the terminal would leave no room for the rest: those wrap too.
        named = self._widths[0] <= available // 2
        roomy = fits()
        table = Table(box=None, pad_edge=False, title_justify="left", show_header=heading)
        if heading and self._title:
            table.title = _plain(self._title)
        for number, (column, width) in enumerate(zip(self._columns, self._widths, strict=True)):
            if number in self._left_out:
                continue
            side: Literal["left", "right"] = "left" if number < self._words else "right"
            # rich takes room from the widest of those that wrap: texts, and headings of runs.
            whole = named if number == 0 else number >= self._words and len(column) <= SHORT
            least = width if roomy else None
            table.add_column(column, justify=side, no_wrap=whole, overflow="fold", min_width=least)
        for row in cells:
            kept = (cell for number, cell in enumerate(row) if number not in self._left_out)
            table.add_row(*map(_plain, kept))
        stdout().print(table)


def prepare() -> None:
    """Set up both streams so that no text fails, whatever their encoding."""
    # Under LANG=C a plus-minus sign would otherwise end a training's summary with an exception.
    codecs.register_error("addkit-ascii", _spelled)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="addkit-ascii")
        if not isinstance(stream, _Stream):
            setattr(sys, name, _Stream(stream, needed=name == "stdout"))


class _Stream:
    """A stream without control characters, also for what others print, such as typer's errors.

    Args:
        stream: where to.
        needed: False if messages that cannot be written are no error: a terminal may have closed.
        raw: True for rich, which moves the cursor itself.
    """

    def __init__(self, stream: TextIO, *, needed: bool, raw: bool = False) -> None:
        self.stream, self.needed, self.raw = stream, needed, raw

    def write(self, text: str) -> int:
        # Progress bars of libraries return to the start of their line.
        text = text if self.raw else printable(text, keep="\n\t\r")
        with nullcontext() if self.needed else suppress(OSError):
            if _spinner is None:
                self.stream.write(text)
            else:
                _spinner.print(self.stream, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with nullcontext() if self.needed else suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def finish() -> None:
    """Flush stdout; a reader that has closed it, such as `head -1`, is no error. Exits with code 1
    if it cannot be written, such as on a full disk.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at exit, and would print the error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            sys.exit(fail(f"the output: cannot be written: {error.strerror}", 1))
    except ValueError:
        return


def set_quiet(quiet: bool) -> None:
    """Print errors alone to stderr, or everything."""
    global _quiet
    _quiet = quiet


@contextmanager
def spinning(words: Sequence[str]) -> Iterator[None]:
    """Show a `Spinner` on stderr while a command prints nothing, unless it is quiet, or prints for
    a program, or stderr is no terminal.

    Args:
        words: of the command line.
    """
    global _spinner
    stream = sys.stderr
    for_programs = {"--json", "--jsonl", "--quiet", "-q"} & {*words}
    # A shell that asks for completions has the user's half-typed line on the terminal.
    for_programs |= {"_ADDKIT_COMPLETE"} & os.environ.keys()
    if not words or for_programs or not isinstance(stream, _Stream) or not _is_terminal(sys.stderr):
        yield
        return
    names = [word for word in words[:2] if word.isalpha()]
    _spinner = Spinner(stream.stream, " ".join(["addkit", *names]))
    _spinner.start()
    try:
        yield
    finally:
        stop_spinner()


def stop_spinner() -> None:
    """Show no spinner any more, such as where other processes write to the terminal."""
    global _spinner
    if _spinner is not None:
        _spinner.stop()
        _spinner = None


def animated() -> bool:
    """True if stderr is a terminal that can show a progress bar, without --quiet."""
    return _is_terminal(sys.stderr) and not _quiet


def stdout() -> Console:
    """The console of results; plain and as wide as needed where it is no terminal."""
    return _console(sys.stdout, to_stderr=False)


def stderr() -> Console:
    """The console of messages."""
    return _console(sys.stderr, to_stderr=True)


def note(text: str) -> None:
    """Print a message for people, which is not part of the result."""
    if _quiet:
        return
    text = printable(text)
    if _is_plain(sys.stderr):
        print(text, file=sys.stderr)
        return
    stderr().print(text, highlight=False, markup=False, style="dim", soft_wrap=True)


def hint(command: str) -> None:
    """Print a command to type next, with the plugin files of this one."""
    here, options = Path.cwd(), ""
    files = os.environ.get("ADDKIT_PLUGIN_FILES", "").split(os.pathsep)
    for file in map(Path, filter(None, files)):
        # The variable has absolute paths; relative where possible, as the user typed them.
        path = file.relative_to(here) if file.is_relative_to(here) else file
        options += f" --plugin-file {quoted(path)}"
    note(f"next: {command}{options if command.startswith('addkit ') else ''}")


def warn(text: str) -> None:
    """Print a warning, each line with its own `warning:`."""
    for line in [] if _quiet else text.split("\n"):
        _print_labelled("warning:", "yellow", line)


def fail(text: str, code: int) -> int:
    """Print an error, each line with its own `error:`; return the exit code."""
    for line in text.split("\n"):
        _print_labelled("error:", "bold red", line)
    return code


def _print_labelled(label: str, style: str, text: str) -> None:
    text = printable(text)
    if _is_plain(sys.stderr):
        print(label, text, file=sys.stderr)
        return
    line = f"[{style}]{label}[/{style}] {_plain(text)}"
    stderr().print(line, highlight=False, soft_wrap=True)


def _console(stream: TextIO, *, to_stderr: bool) -> Console:
    # rich takes 0.1 s to import. A console is made at each call, since tests replace the streams.
    from rich.console import Console

    # rich prints colours and moves the cursor itself, and every text it gets here is printable.
    inner = getattr(stream, "rich_proxied_file", stream)
    file = None
    if isinstance(inner, _Stream):
        file = cast("IO[str]", _Stream(inner.stream, needed=inner.needed, raw=True))
    if _is_terminal(stream):
        return Console(file=file, stderr=to_stderr)
    terminal = None if _COLOUR & os.environ.keys() else False
    return Console(file=file, stderr=to_stderr, soft_wrap=True, width=WIDE, force_terminal=terminal)


def _is_plain(stream: TextIO) -> bool:
    """True for a program or a file, for which rich (0.1 s to load) adds nothing."""
    return not _is_terminal(stream) and not _COLOUR & os.environ.keys()


def _is_terminal(stream: TextIO) -> bool:
    """True for a terminal with a screen; a CI's pseudo-terminal is a log."""
    plain = os.environ.get("TERM") == "dumb" or os.environ.get("CI", "") not in ("", "0", "false")
    return stream.isatty() and not plain


def _json(value: Any, indent: int | None = None) -> str:
    """The value as JSON, with \\u escapes where stdout cannot encode it: no value may change."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    # JSON itself escapes those of ASCII alone.
    return text if text == printable(text, keep="\n") else json.dumps(value, indent=indent)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that cannot be encoded: by ASCII, or as \\xNN and \\uNNNN."""
    assert isinstance(error, UnicodeEncodeError)
    replaced = ""
    for sign in error.object[error.start : error.end]:
        # Python keeps each byte of a file name that is no UTF-8 as one of these surrogates.
        is_byte = "\udc80" <= sign <= "\udcff"
        other = SPELLED.get(sign) or sign.encode("ascii", "backslashreplace").decode()
        replaced += f"\\x{ord(sign) - 0xDC00:02x}" if is_byte else other
    return replaced, error.end


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
