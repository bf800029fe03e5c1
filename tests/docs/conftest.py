"""Pages of README and docs, and their fenced blocks with the comments above them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import shlex

import pytest

ROOT = Path(__file__).parents[2]

FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*?) -->\n+)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"(?<=\n\n)(?: {4,}\S[^\n]*\n|\n(?= {4}))+")
"""Indented blocks: equations and commands."""
ASSIGNMENT = re.compile(r"\w+=\S*")
STARTERS = ("srun", "nice", "exec")
ENDS = ("&&", "||", ";", "|", ">", ">>", "<", "&")


@dataclass(frozen=True)
class Block:
    """A fenced block. The note is the HTML comment above it, which selects its test."""

    page: str
    line: int
    language: str
    text: str
    note: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @cached_property
    def commands(self) -> list[list[str]]:
        """The arguments of each call of addkit, also after srun and torchrun."""
        lines = self.text.replace("\\\n", " ").splitlines()
        called = [_arguments(piece) for line in lines for piece in _pieces(line)]
        return [words for words in called if words is not None]


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        fenced = [
            self._block(match, match["language"], match["text"], match["note"] or "")
            for match in FENCE.finditer(self.text)
        ]
        # Keep the line numbers of what remains.
        bare = FENCE.sub(lambda match: "\n" * match[0].count("\n"), self.text)
        return fenced + [self._indented(match) for match in INDENTED.finditer(bare)]

    def _indented(self, match: re.Match[str]) -> Block:
        text = textwrap.dedent(match[0])
        is_console = re.search(r"^addkit ", text, re.MULTILINE)
        return self._block(match, "console" if is_console else "text", text, "")

    def _block(self, match: re.Match[str], language: str, text: str, note: str) -> Block:
        line = match.string.count("\n", 0, match.start()) + 1
        return Block(str(self), line, language, text, note)

    def of(self, *languages: str) -> list[Block]:
        """The blocks in these languages."""
        return [block for block in self.blocks if block.language in languages]

    @cached_property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def spans(self) -> list[str]:
        """Code spans within a line."""
        return re.findall(r"`([^`\n]+)`", self.prose)


FRONT = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")]
PAGES = [Page(path) for path in (*FRONT, *sorted((ROOT / "docs").rglob("*.md")))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by page, script or TOML block, by the names of a test's arguments."""
    wanted: dict[str, Sequence[Page | Block]] = {
        "page": PAGES,
        "script": [block for page in PAGES for block in page.of("console", "sh")],
        "layer": [block for page in PAGES for block in page.of("toml")],
    }
    for name, values in wanted.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values, ids=str)


def _pieces(line: str) -> list[list[str]]:
    """Split a line into its commands, without comments and redirections."""
    lexer = shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    pieces: list[list[str]] = [[]]
    for word in lexer:
        if word in ENDS:
            pieces.append([])
        else:
            pieces[-1].append(word)
    return pieces


def _arguments(words: list[str]) -> list[str] | None:
    while words and (ASSIGNMENT.fullmatch(words[0]) or words[0] in (*STARTERS, "if")):
        words = words[1:]
        while words and words[0].startswith("-"):
            words = words[1:]
    if words[:1] == ["torchrun"] and "addkit" in words:
        return words[words.index("addkit") + 1 :]
    return words[1:] if words[:1] == ["addkit"] else None
