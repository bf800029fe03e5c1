"""Commands of this package in addkit's pages: each can be parsed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from addkit_paper.claims_command import claims
from addkit_paper.theory_command import theory

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT.joinpath(
    "plugins", "addkit-paper", "README.md"
)]  # fmt: skip
COMMANDS = sorted(
    {
        (page.name, line.strip())
        for page in PAGES
        for line in re.findall(r"^ *addkit (?:claims|theory)\b.*$", page.read_text("utf-8"), re.M)
    }
)


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_word_is_known(page: str, line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    app = typer.Typer()
    app.command()({"claims": claims, "theory": theory}[name])
    command: Any = typer.main.get_command(app)
    command.callback = lambda **_: None
    command.main(words, prog_name=page, standalone_mode=False)


def test_pages_name_the_package_to_install() -> None:
    for name in ("theory.md", "claims.md"):
        assert "pip install plugins/addkit-paper" in (ROOT / "docs" / name).read_text("utf-8")
    assert len(COMMANDS) > 10
