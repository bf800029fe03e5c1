"""README and docs as the tests see them: pages, and fenced blocks with what stands above them."""

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
"""Of equations, and of commands that stand between them."""
ASSIGNMENT = re.compile(r"\w+=\S*")
STARTERS = ("srun", "nice", "exec")
ENDS = ("&&", "||", ";", "|", ">", ">>", "<", "&")


@dataclass(frozen=True)
class Block:
    """A fenced block. The note is an HTML comment right above it: how a test treats it."""

    page: str
    line: int
    language: str
    text: str
    note: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @cached_property
    def commands(self) -> list[list[str]]:
        """The words after `addkit` of each call of it, behind srun and torchrun too."""
        lines = self.text.replace("\\\n", " ").splitlines()
        called = [_of_addkit(piece) for line in lines for piece in _pieces(line)]
        return [words for words in called if words is not None]


@dataclass(frozen=True)
class Page:
    """A file in Markdown."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        fenced = [
            self._block(found, found["language"], found["text"], found["note"] or "")
            for found in FENCE.finditer(self.text)
        ]
        # Lines stay where they are.
        bare = FENCE.sub(lambda found: "\n" * found[0].count("\n"), self.text)
        return fenced + [self._indented(found) for found in INDENTED.finditer(bare)]

    def _indented(self, found: re.Match[str]) -> Block:
        text = textwrap.dedent(found[0])
        is_console = re.search(r"^addkit ", text, re.MULTILINE)
        return self._block(found, "console" if is_console else "text", text, "")

    def _block(self, found: re.Match[str], language: str, text: str, note: str) -> Block:
        line = found.string.count("\n", 0, found.start()) + 1
        return Block(str(self), line, language, text, note)

    def of(self, *languages: str) -> list[Block]:
        """The blocks in these languages."""
        return [block for block in self.blocks if block.language in languages]

    @cached_property
    def prose(self) -> str:
        """Without the fenced blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def spans(self) -> list[str]:
        """What stands in `backticks` within a line."""
        return re.findall(r"`([^`\n]+)`", self.prose)


PAGES = [Page(path) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each page, script or TOML block, if it asks for one."""
    wanted: dict[str, Sequence[Page | Block]] = {
        "page": PAGES,
        "script": [block for page in PAGES for block in page.of("console", "sh")],
        "layer": [block for page in PAGES for block in page.of("toml")],
    }
    for name, values in wanted.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values, ids=str)


def _pieces(line: str) -> list[list[str]]:
    """A line's commands, without comments and what they read or write."""
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


def _of_addkit(words: list[str]) -> list[str] | None:
    while words and (ASSIGNMENT.fullmatch(words[0]) or words[0] in (*STARTERS, "if")):
        words = words[1:]
        while words and words[0].startswith("-"):
            words = words[1:]
    if words[:1] == ["torchrun"] and "addkit" in words:
        return words[words.index("addkit") + 1 :]
    return words[1:] if words[:1] == ["addkit"] else None
