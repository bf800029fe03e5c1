"""Files of a run damaged, one at a time, and six commands that read it.

Each command gives the answer of the undamaged run, or a line that names the damaged file or what it
belongs to; it deletes nothing, and nothing is called a fault of addkit's.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from addkit.cli import run_summary
from addkit.cli.progress import LiveView
from addkit.evaluation import run as run_module
from addkit.evaluation.run import EvaluationOptions, Grid, evaluate_run, store
from addkit.model import build_data
from addkit.recipe import read_recipe
from addkit.report import page
from addkit.runs import Run
from addkit.training.train import train

Cli = Callable[..., Any]

TINY = (
    "data.image_size=8",
    "data.validation=0",
    "checkpoints.use=last",
    "encoder.widths=[4]",
    "encoder.blocks=1",
    "denoiser.width=8",
    "denoiser.depth=1",
    "training.epochs=1",
    "training.batch_size=8",
    "training.warmup_epochs=0",
    "augmentation.crop=[1.0, 1.0]",
    'control.heads=["linear"]',
)
CHECKPOINT = "checkpoints/step-00000004"
FILES = (
    "recipe.toml",
    "facts.json",
    "manifest.json",
    "metrics.jsonl",
    "evaluation.json",
    "checkpoints/latest",
    *(f"{CHECKPOINT}/{name}.safetensors" for name in ("ema", "raw", "optimizer")),
    *(f"{CHECKPOINT}/{name}.json" for name in ("checksums", "progress")),
    "controls/linear/manifest.json",
    f"controls/linear/{CHECKPOINT}/ema.safetensors",
)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    # The lowest bit of a letter or digit makes another one: the file may still be valid.
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": _flip,
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file: os.truncate(file, 0),
    "deleted": Path.unlink,
    "a folder": _folder,
    "not UTF-8": lambda file: file.write_bytes(b"\xff\xfe\x80" + file.read_bytes()[3:]),
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "sample": ("sample", "--run", "run", "--json", "photos/test/ant/0.png"),
    "evaluate": ("evaluate", "--run", "run", "--json", "--no-audit"),
    "show": ("runs", "show", "run", "--json"),
    "list": ("runs", "list", "--root", ".", "--json"),
    "report": ("report", "run", "--json"),
    "resume": ("train", "run", "--resume", "--json"),
}
WHOLE = bool(os.environ.get("ADDKIT_ALL_DAMAGE"))
"""All combinations, which takes minutes. Else each command meets each damage, and each file."""


def _chosen() -> list[tuple[str, str, str]]:
    every = product(enumerate(COMMANDS), enumerate(FILES), enumerate(DAMAGES))
    return [
        (command, file, damage)
        for (i, command), (j, file), (k, damage) in every
        if WHOLE or (i + j) % len(DAMAGES) == k
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, recipes: Path) -> Path:
    """A folder with photos and a run on them that has been evaluated."""
    folder = tmp_path_factory.mktemp("tiny")
    for split, number, name in product(("train", "test"), range(4), ("ant", "bee")):
        file = folder / "photos" / split / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (50 * number, 200 * (name == "ant"), 9 * (split == "test"))).save(
            file
        )
    root = f"data.root={folder / 'photos'}"
    recipe = read_recipe(recipes / "image-folder-small.toml", [root, *TINY])
    run = Run.create(folder / "run", recipe, build_data(recipe).facts)
    train(recipe, run, device="cpu")
    store(run.path, evaluate_run(run.path, Grid(), EvaluationOptions(audit=False)))
    return folder


@pytest.fixture
def addkit_there(addkit: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command beside a copy of the tiny run. Pages are made without drawing their figures."""
    monkeypatch.setattr(page, "_section", lambda section, shown: "")
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    return addkit


RIGHT: dict[str, Any] = {}
"""Command -> its answer from the undamaged run."""


VARYING = r'"(age_seconds|seconds|[\w.-]*\.\w+|step-\d+|checkpoints|controls)": [\d.e-]+'
"""Times and sizes of files."""


@pytest.mark.parametrize(("command", "name", "damage"), _chosen())
def test_a_damaged_run(addkit_there: Cli, tiny: Path, command: str, name: str, damage: str) -> None:
    words = COMMANDS[command]
    if command not in RIGHT:
        RIGHT[command] = re.sub(VARYING, "", addkit_there(*words).out)
        shutil.rmtree("run")
        shutil.copytree(tiny / "run", "run")
    DAMAGES[damage](Path("run") / name)
    before = {path: path.is_dir() for path in Path("run").rglob("*")}
    said = addkit_there(*words)
    assert said.code in (0, 1, 2), said
    assert "fault of addkit" not in said.err, said
    assert "Traceback" not in said.err
    assert {path: path.is_dir() for path in before if path.exists()} == before
    if damage == "deleted" and name == "evaluation.json":
        return  # As of a run that was never evaluated.
    if said.code or re.sub(VARYING, "", said.out) != RIGHT[command]:
        # The file, or the checkpoint that lacks it.
        about = {Path(name).name, Path(name).stem, Path(name).parent.name} - {""}
        assert any(word in said.err + said.out for word in about), said


def _move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


@pytest.mark.parametrize("gone", [_move, shutil.rmtree], ids=["renamed", "deleted"])
@pytest.mark.parametrize("command", ["evaluate", "report", "train", "list"])
def test_a_run_that_goes_away_meanwhile(
    addkit_there: Cli, monkeypatch: pytest.MonkeyPatch, command: str, gone: Callable[[Path], None]
) -> None:
    words = COMMANDS.get(command, ())
    if command == "train":
        shutil.copytree("run", "first")
        shutil.rmtree("run")
        more = ("--set", "training.epochs=3", "--set", "checkpoints.every=1")
        words = ("train", "first/recipe.toml", "--run-dir", "run", *more)
    # The method that each command calls in the middle of its work.
    owner, name = {
        "evaluate": (run_module, "_evaluate"),
        "report": (page, "check_page"),
        "train": (LiveView, "step"),
        "list": (run_summary, "last_written"),
    }[command]
    work = getattr(owner, name)

    def interrupted(*given: Any) -> Any:
        result = work(*given)
        if Path("run").exists():
            gone(Path("run"))
        return result

    monkeypatch.setattr(owner, name, interrupted)
    said = addkit_there(*words)
    assert "fault of addkit" not in said.err, said
    assert not Path("run").exists(), list(Path("run").rglob("*"))
    if command == "list":
        assert (said.code, said.json) == (0, [])
    else:
        assert said.code == (2 if command == "report" else 1)
        assert re.search("error: .*run/", said.err)
    assert Path("elsewhere").exists() == (gone is _move)
