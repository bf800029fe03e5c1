"""TOML blocks are recipes, names and keys exist, and links between pages resolve."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from addkit.plugin import KINDS, load_registry
from addkit.plugin.spec import ABILITIES
from addkit.recipe import read_recipe
from addkit.recipe.tables import SHARED_TABLES

ROOT = Path(__file__).parents[2]
MARKDOWN = sorted(
    path
    for pattern in ("*.md", "benchmarks/*.md", "docs/**/*.md", "plugins/*/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
KEY = re.compile(r"(?<![\w./-])([a-z_]+)\.([a-z_]+)(?=$|[\s=,;)])")
VARIABLE = re.compile(r"\bADDKIT_[A-Z_]+")
PACKAGING = {"project", "build-system", "tool", "dependency-groups"}
UNRESOLVED = "not validated: "


def _keys() -> set[tuple[str, str]]:
    """Every table and key that a recipe can have."""
    shared = {(table, key) for table, model in SHARED_TABLES.items() for key in model.model_fields}
    chosen = {
        (kind, key)
        for (kind, _), provided in load_registry().components.items()
        for key in ("name", *provided.spec.settings.model_fields)
    }
    return shared | chosen


def test_toml_blocks_are_recipes(
    layer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a layer over `digits`, or over the recipe of the comment `layer of: NAME`."""
    tables = tomllib.loads(layer.text)
    if PACKAGING & tables.keys():
        assert "project" in tables, f"{layer}: a fragment of a pyproject.toml has [project]"
        return
    if layer.note.startswith(UNRESOLVED):
        return
    monkeypatch.chdir(ROOT)
    base = layer.note.removeprefix("layer of: ") if layer.note.startswith("layer") else "digits"
    first = "" if "extends" in tables else f'extends = "{base}"\n'
    file = tmp_path / "layer.toml"
    file.write_text(first + layer.text)
    assert read_recipe(file).name


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_long_lines_have_one_sentence(path: Path) -> None:
    """So that a diff shows the sentence that changed."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if len(line) > 120 and line[0] not in "|"]
    assert [line for line in lines if re.search(r"[.;!?] [A-Z`*]", line)] == []


def test_fences_are_not_indented(page: Any) -> None:
    """The other tests find only fences at the start of a line."""
    assert not re.search(r"^[ \t>]+```", page.text, re.MULTILINE)
    assert "```" not in page.prose


def test_keys_in_the_text_exist(page: Any) -> None:
    keys, tables = _keys(), {kind.kind for kind in KINDS} | SHARED_TABLES.keys()
    for span in page.spans:
        if not span.startswith(("addkit.", "torch")):
            named = {key for key in KEY.findall(span) if key[0] in tables}
            assert named <= keys, f"{page}: `{span}` names {named - keys}"


def test_variables_in_the_text_exist(page: Any) -> None:
    source = "".join(file.read_text("utf-8") for file in (ROOT / "addkit").rglob("*.py"))
    for name in VARIABLE.findall(page.text):
        assert f'"{name}"' in source or f" {name} =" in source, f"{page}: {name}"


def test_links_resolve(page: Any) -> None:
    for link in LINK.findall(page.prose):
        if not link.startswith(("http://", "https://")):
            path, _, anchor = link.partition("#")
            target = (page.path.parent / path) if path else page.path
            assert target.exists(), f"{page}: {link}"
            assert not anchor or anchor in _anchors(target.read_text("utf-8")), f"{page}: {link}"


def _anchors(text: str) -> set[str]:
    """Anchors of headings by GitHub's rule."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_modules_and_files_in_the_text_exist(page: Any) -> None:
    for span in page.spans:
        if re.fullmatch(r"(addkit|recipes|tests|benchmarks|docs)/[\w./-]+", span):
            assert (ROOT / span).exists(), f"{page}: `{span}`"
        if re.fullmatch(r"addkit(\.[a-z_]+)+", span):
            path = ROOT.joinpath(*span.split("."))
            assert path.is_dir() or path.with_suffix(".py").is_file() or _is_public(span), span


def test_functions_in_the_text_exist(page: Any) -> None:
    """`folder/file.py:function` below addkit/, or below the root."""
    for span in page.spans:
        if found := re.fullmatch(r"([\w/-]+\.py):([\w.]+)", span):
            file, name = found.groups()
            paths = [base / file for base in (ROOT / "addkit", ROOT) if (base / file).is_file()]
            assert paths, f"{page}: `{span}`"
            defined = _definitions(ast.parse(paths[0].read_text("utf-8")))
            assert name in defined, f"{page}: `{span}` is none of {sorted(defined)}"


def test_method_page_maps_the_paper() -> None:
    """Every section with an equation, every table and every figure has a row with code."""
    text = (ROOT / "docs" / "method.md").read_text("utf-8")
    rows = re.findall(r"^\| (\S[^|]*) \|.*\.py:.*\|$", text, re.MULTILINE)
    first = " ".join(rows)
    for section in ("3.1", "3.2", "3.3", "3.4", "4.2.2", "4.3"):
        assert section in first, section
    tables, figures = (text.split(f"## {part} of the paper")[1] for part in ("Tables", "Figures"))
    assert [row for row in ("1", "2", "3") if f"| {row} |" not in tables] == []
    assert [row for row in ("3", "4", "5", "6", "7") if f"| {row} |" not in figures] == []


def _definitions(tree: ast.AST, prefix: str = "") -> set[str]:
    """Functions and classes by qualified name."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}"
            names |= {name} | _definitions(node, f"{name}.")
    return names


def _is_public(name: str) -> bool:
    import importlib

    module, _, attribute = name.rpartition(".")
    return hasattr(importlib.import_module(module), attribute)


def test_kinds_page_lists_every_component() -> None:
    """With the registry's own summaries, in its order."""
    text = (ROOT / "docs" / "kinds.md").read_text("utf-8")
    sections = dict(re.findall(r"^## `(\w+)`[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert list(sections) == [kind.kind for kind in KINDS]
    registry = load_registry()
    for kind, section in sections.items():
        rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|$", section, re.MULTILINE)
        built_in = [registry.get(kind, name).spec for name in registry.names(kind)]
        assert rows == [(spec.name, spec.summary) for spec in built_in], kind


def test_cluster_page_names_every_line_of_metrics(digits_run: Path) -> None:
    lines = (digits_run / "metrics.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    steps = [entry for entry in entries if "lr" in entry]
    page = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    for key in {key for entry in steps for key in (*entry, *entry["parts"])}:
        assert f"`{key}`" in page, key


def test_plugins_page_lists_every_ability() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    abilities = [(kind, *ability) for kind, of in ABILITIES.items() for ability in of.items()]
    assert re.findall(r"^\| `(\w+)` \| `([\w-]+)` \| (.+) \|$", text, re.MULTILINE) == abilities
