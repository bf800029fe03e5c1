"""The Python of the notebook, of README and of the pages runs, with small networks."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import addkit

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
SMALL = {
    "encoder": {"widths": [4], "blocks": 1},
    "denoiser": {"width": 16, "depth": 1, "heads": 2},
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a picture, in which `addkit.train` makes small networks in one epoch."""
    train: Callable[..., Any] = addkit.train

    def trained(recipe: str, overrides: Any = None, **more: Any) -> Any:
        wide = {} if recipe == "digits" else {"training.batch_size": 512}
        denoiser = {"denoiser": {"width": 16, "depth": 1}} if recipe == "digits" else {}
        changes = {**(overrides or {}), **SMALL, **wide, **denoiser}
        return train(recipe, changes, **{**more, "epochs": 1})

    monkeypatch.setattr(addkit, "train", trained, raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (20, 10)).save("image.jpg")


def _code(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_valid(path: Path) -> None:
    """By nbformat 4.5: keys, kinds of cells, names of cells that differ."""
    book = json.loads(path.read_text("utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    for cell in book["cells"]:
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == {"cell_type", "id", "metadata", "source", *code}
        for output in cell.get("outputs", ()):
            assert output["output_type"] in ("stream", "execute_result", "display_data")
    assert path.stat().st_size < 100_000
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        assert (path.parent / link).exists(), link


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path: Path) -> None:
    names: dict[str, Any] = {}
    for source in _code(path):
        tree = ast.parse(source)
        last = tree.body[-1]
        if not isinstance(last, ast.Expr):
            exec(compile(tree, str(path), "exec"), names)
            continue
        tree.body.pop()
        exec(compile(tree, str(path), "exec"), names)
        value = eval(compile(ast.Expression(last.value), str(path), "eval"), names)
        if isinstance(value, addkit.Prediction | addkit.TrainResult | addkit.Evaluation):
            assert "<td" in value._repr_html_()


@pytest.mark.usefixtures("small")
def test_marked_python_of_a_page_runs(page: Any) -> None:
    names: dict[str, Any] = {}
    for block in page.of("python"):
        if block.note.startswith("run:"):
            exec(compile(block.text, str(block), "exec"), names)
