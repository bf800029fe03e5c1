"""The rules of the house: floors, exports, and no trace of the builder's machine."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

import addkit

ROOT = Path(__file__).parents[1]

FLOORS = (
    ("errors", "notebook", "renamed", "terminal", "version"),
    ("plugin", "recipe"),
    ("diffusion",),
    ("sampling",),
    (
        *("schedules", "timesteps", "embeddings", "losses", "to_one", "samplers", "read_outs"),
        *("encoders", "conditioners", "denoisers", "processes", "tokenizers"),
        "trackers",
    ),
    ("data", "tasks", "metrics", "runs"),
    ("model",),
    ("distributed",),
    ("training", "evaluation", "planning", "export"),
    ("ablation", "repair", "testing", "packs"),
    ("report", "serving"),
    ("cli", "api"),
)
"""From the ground up. What a module imports lies on its own floor or below."""

LEVEL = {package: level for level, floor in enumerate(FLOORS) for package in floor}

# In pieces, so that this file does not find itself.
FOREIGN = re.compile(
    "|".join(
        [rf"(?<![\w.])/{folder}/" for folder in ("work", "opt", "root", "home")]
        + [r"python" + r"hosted\.org", r"index" + r"-url", r"/sim" + r"ple/", r"https?://[\w.]*:\d"]
    )
)


def _packages() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "addkit").glob("*/__init__.py"))


def _modules() -> list[Path]:
    return sorted((ROOT / "addkit").glob("*/*.py"))


def test_every_package_has_its_floor() -> None:
    assert {path.name for path in _packages()} | {
        "errors",
        "notebook",
        "renamed",
        "terminal",
        "version",
    } == set(LEVEL)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_imports_go_down(path: Path) -> None:
    own = path.parent.name
    tree = ast.parse(path.read_text("utf-8"))
    upward = [name for name in _imported(tree) if LEVEL.get(name, -1) > LEVEL[own]]
    assert not upward, f"{own} is below {', '.join(upward)}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_files_are_deleted_in_one_module(path: Path) -> None:
    """It states what may be deleted; everything else that a user's disk has stays."""
    deleting = re.compile(r"\b(rmtree|unlink|rmdir|removedirs|os\.remove)\b")
    assert path.match("runs/atomic.py") == bool(deleting.search(path.read_text("utf-8")))


def test_the_floors_are_looked_at() -> None:
    seen = {name for path in _modules() for name in _imported(ast.parse(path.read_text("utf-8")))}
    assert {"plugin", "recipe", "diffusion", "data", "model", "runs"} <= seen
    tree = ast.parse("def f():\n  from addkit.cli.main import app\n  import addkit.report.trace")
    assert list(_imported(tree)) == ["cli", "report"]
    tree = ast.parse("if TYPE_CHECKING:\n  from addkit.cli import main")
    assert list(_imported(tree)) == ["cli"]


def _imported(tree: ast.AST) -> Iterator[str]:
    """addkit's packages that are imported anywhere, within functions and for types included."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (part for name in names for part in _package(name.name))
            case ast.ImportFrom(module="addkit", names=names):
                yield from (part for name in names for part in _package(f"addkit.{name.name}"))
            case ast.ImportFrom(module=str(module)):
                yield from _package(module)


def _package(module: str) -> list[str]:
    root, _, rest = module.partition(".")
    return [rest.split(".")[0]] if root == "addkit" and rest else []


def test_no_imports_go_in_a_circle() -> None:
    """Imports for types included; those within functions left out, as they run later."""
    modules = {_module_name(path): path for path in (ROOT / "addkit").rglob("*.py")}
    graph = {name: set(_at_import(path, modules)) for name, path in modules.items()}
    # Take away, again and again, what imports nothing that is left, then what nothing imports.
    while done := {name for name, imports in graph.items() if not imports}:
        graph = {name: imports - done for name, imports in graph.items() if name not in done}
    while done := set(graph) - {one for imports in graph.values() for one in imports}:
        graph = {name: imports for name, imports in graph.items() if name not in done}
    assert not graph


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _at_import(path: Path, modules: Collection[str]) -> Iterator[str]:
    """addkit's modules in the import statements outside functions."""
    waiting: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("addkit"):
            names = [f"{node.module}.{each.name}" for each in node.names]
            yield from {name if name in modules else str(node.module) for name in names}
        elif not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("name", ["addkit", *(f"addkit.{path.name}" for path in _packages())])
def test_every_package_says_what_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    public = getattr(module, "__all__", [])
    assert len(set(public)) == len(public)
    assert all(hasattr(module, each) for each in public)


def test_only_packages_have_a_list_of_exports() -> None:
    modules = [path for path in (ROOT / "addkit").rglob("*.py") if path.name != "__init__.py"]
    listing = [
        str(path.relative_to(ROOT)) for path in modules if "__all__" in path.read_text("utf-8")
    ]
    assert not listing


def test_every_module_can_be_imported_and_keeps_its_promises() -> None:
    for found in pkgutil.walk_packages(addkit.__path__, "addkit."):
        module = importlib.import_module(found.name)
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{found.name}.{name}"


def _files(*endings: str) -> list[Path]:
    folders = ("addkit", "recipes", "tests", "docs", "benchmarks", "plugins")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in [*files, ROOT / "README.md"] if path.suffix in endings]


def test_no_file_tells_of_the_machine_it_was_written_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in _files(".py", ".toml", ".md", ".txt", ".json", ".jsonl", ".csv")
        for match in FOREIGN.finditer(path.read_text("utf-8"))
    ]
    assert not found


def test_the_machine_pattern_finds() -> None:
    for text in ("see /" + "work/x", "/" + "opt/venv", "--index" + "-url"):
        assert FOREIGN.search(text)
    for text in ("addkit/work/x", "https://example.org/a", "runs/1"):
        assert not FOREIGN.search(text)
