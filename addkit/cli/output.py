"""One place that writes: data to stdout, talk to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "fail"]


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
                print(json.dumps(item, ensure_ascii=False))
        else:
            print(json.dumps(value, indent=2, ensure_ascii=False))

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
        """A table for people; the first `words` columns to the left, numbers to the right."""
        from rich.table import Table

        table = Table(title=title and _plain(title), box=None, pad_edge=False, title_justify="left")
        for number, column in enumerate(columns):
            is_text = number < words
            table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text)
        for row in rows:
            table.add_row(*map(_plain, row))
        stdout().print(table)


def stdout() -> Console:
    """Where results go; plain and as wide as needed where it is no terminal."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 200)


def stderr() -> Console:
    """Where talk goes."""
    from rich.console import Console

    return Console(stderr=True)


def note(text: str) -> None:
    """A line for the person at the terminal, not part of the result."""
    stderr().print(text, highlight=False, markup=False, style="dim", soft_wrap=True)


def warn(text: str) -> None:
    """Something that the person should know."""
    stderr().print(f"[yellow]warning:[/yellow] {_plain(text)}", highlight=False, soft_wrap=True)


def fail(text: str, code: int) -> int:
    """Print an error, each line with its own `error:`; gives the exit code back."""
    for line in text.splitlines():
        stderr().print(
            f"[bold red]error:[/bold red] {_plain(line)}", highlight=False, soft_wrap=True
        )
    return code


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
