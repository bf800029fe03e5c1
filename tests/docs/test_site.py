"""The pages that are made for the site name every command, key, component and public name.

`nox -s docs` builds the site itself, strictly, and checks its links.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import addkit
from addkit.cli.main import app
from addkit.plugin import KINDS, load_registry
from addkit.recipe.tables import SHARED_TABLES

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, SITE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: "\n".join(lines) for name, lines in _module("reference").pages().items()}


def _leaves(command: Any, path: str = "addkit") -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", {})
    own = [] if inner else [(path, command)]
    return own + [leaf for name in inner for leaf in _leaves(inner[name], f"{path} {name}")]


def test_every_command_and_option_is_there(pages: dict[str, str]) -> None:
    _, *parts = pages["commands"].split(".. program:: ")
    sections = {part.split("\n")[0]: part for part in parts}
    for path, command in _leaves(typer.main.get_command(app)):
        for parameter in command.params:
            options = [word for word in parameter.opts if word.startswith("--")]
            if not getattr(parameter, "hidden", False) and "--help" not in options:
                assert [word for word in options if word not in sections[path]] == [], path


def test_every_key_and_component_is_there(pages: dict[str, str]) -> None:
    for model in SHARED_TABLES.values():
        assert [key for key in model.model_fields if f"``{key}``" not in pages["recipes"]] == []
    registry = load_registry()
    for kind in KINDS:
        for name in registry.names(kind.kind):
            assert f".. _{kind.kind}-{name}:" in pages["components"]


def test_every_public_name_is_there(pages: dict[str, str]) -> None:
    text = pages["python"] + pages["plugins"]
    named = re.findall(
        r"^\.\. (?:autoclass|autofunction|py:decorator):: addkit\.(\w+)$", text, re.M
    )
    assert {*named} == {*addkit.__all__} - {"__version__"}
    assert len(named) == len(set(named))


def test_every_page_is_in_one_menu(pages: dict[str, str]) -> None:
    """Below a head that lists it; a page that no head lists cannot be found on the site."""
    navigation = _module("navigation")
    below = [
        page
        for head in navigation.SECTIONS
        for _, page in navigation.entries(head, (ROOT / f"{head}.md").read_text("utf-8"))
    ]
    written = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for ending in ("md", "ipynb")
        for path in (ROOT / "docs").rglob(f"*.{ending}")
    }
    assert written - {*below, navigation.ROOT} == set()
    assert {page for page in below if below.count(page) > 1} == set()
    assert {f"docs/reference/{name}" for name in pages} <= {*below}


def test_dead_links_and_other_hosts_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<p id="here"></p>')
    links = ("other.html#here", "other.html", "#", "https://example.org", "mailto:a@example.org")
    good = "".join(f'<a href="{link}"></a>' for link in links)
    page = tmp_path / "index.html"
    page.write_text(good)
    faults = _module("check_links").faults
    assert faults(tmp_path) == []
    bad = ("other.html#gone", "gone.html", "#gone", "sub/")
    page.write_text(good + "".join(f'<a href="{link}"></a>' for link in bad))
    assert [line.split()[1] for line in faults(tmp_path)] == list(bad)
    page.write_text('<script src="https://example.org/x.js"></script><img src="gone.png">')
    assert [line.split()[-1] for line in faults(tmp_path)] == [
        "https://example.org/x.js",
        "nowhere",
    ]
