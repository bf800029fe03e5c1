"""What others rely on, written down: public names, and the shape of every JSON answer.

A change shows as a diff. If it is meant, write the new text: `ADDKIT_WRITE_FROZEN=1 pytest FILE`.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FROZEN = Path(__file__).parent / "frozen"
PUBLIC = ("addkit", "addkit.plugin", "addkit.testing")
"""What users and plugin authors import; everything else may change."""
SMALL = ("encoder.widths=[4]", "encoder.blocks=1", "denoiser.width=8", "denoiser.depth=1")


def _hold(name: str, lines: list[str]) -> None:
    """Compare with what is written down; the difference is the message."""
    file = FROZEN / name
    if os.environ.get("ADDKIT_WRITE_FROZEN"):
        FROZEN.mkdir(exist_ok=True)
        file.write_text("\n".join(lines) + "\n", "utf-8")
    kept = file.read_text("utf-8").splitlines()
    changed = "\n".join(difflib.unified_diff(kept, lines, "frozen", "now", lineterm="", n=1))
    assert not changed, f"{file.name} has changed:\n{changed}"


def test_public_names_are_what_they_were() -> None:
    modules = [importlib.import_module(name) for name in PUBLIC]
    _hold(
        "public-names.txt", [f"{one.__name__}: {' '.join(sorted(one.__all__))}" for one in modules]
    )


def _shape(value: Any, at: str = "") -> Iterator[str]:
    """`key.key: type`, lists by their first item; keys that are data, such as names, as `*`."""
    match value:
        case dict() if value and at.rsplit(".", 1)[-1] in BY_NAME:
            yield from _shape(next(iter(value.values())), f"{at}.*")
        case dict() if value:
            for key in sorted(value):
                yield from _shape(value[key], f"{at}.{key}")
        case list() if value:
            yield from _shape(value[0], f"{at}[]")
        case _:
            kind = "number" if isinstance(value, int | float) else type(value).__name__
            yield f"{at.lstrip('.') or 'all'}: {'number' if value is True else kind}"


BY_NAME = {
    "checkpoints",
    "controls",
    "files",
    "packages",
    "components",
    "splits",
    "changes",
    "scores",
    "seconds",
    "notes",
}
"""Objects whose keys are names of things, not of this format."""

COMMANDS: dict[str, Callable[[Path, list[Path]], list[Any]]] = {
    "train-dry-run": lambda run, images: ["train", "digits", "--dry-run"],
    "sample": lambda run, images: ["sample", "--run", run, images[0]],
    "evaluate": lambda run, images: ["evaluate", "--run", run, "--steps", "2"],
    "runs-list": lambda run, images: ["runs", "list", "--root", run.parent],
    "runs-show": lambda run, images: ["runs", "show", run],
    "runs-compare": lambda run, images: ["runs", "compare", run, run],
    "recipes-list": lambda run, images: ["recipes", "list"],
    "recipes-check": lambda run, images: ["recipes", "check", "digits"],
    "recipes-diff": lambda run, images: ["recipes", "diff", "digits", "fashion-mnist"],
    "plugins-list": lambda run, images: ["plugins", "list"],
    "plugins-show": lambda run, images: ["plugins", "show", "schedule", "cosine"],
    "schedule-show": lambda run, images: ["schedule", "show", "cosine", "--classes", "10"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_json_has_the_shape_it_had(
    addkit: Any, digits_run: Path, digit_images: list[Path], name: str
) -> None:
    said = addkit(*COMMANDS[name](digits_run, digit_images), "--json")
    _hold(f"{name}.txt", list(dict.fromkeys(_shape(said.json))))


def test_the_shape_of_a_training_s_result(addkit: Any) -> None:
    words = [word for change in SMALL for word in ("--set", change)]
    said = addkit("train", "digits", *words, "--set", "training.epochs=1", "--json")
    _hold("train.txt", list(dict.fromkeys(_shape(said.json))))


def test_a_change_is_told_as_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FROZEN", tmp_path)
    (tmp_path / "x.txt").write_text("a: number\nb: str\n")
    with pytest.raises(AssertionError, match=r"-b: str\n *\+b: number"):
        _hold("x.txt", ["a: number", "b: number"])
