"""docs/paper.md: every equation, table row, figure and number of the paper has a command that runs.

Commands on ImageNet and COCO are dry runs of shallow networks; the others share one tiny run of
each kind, on the digits in place of Fashion-MNIST.
"""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from addkit.model import build_data, build_network
from addkit.recipe import read_recipe

from ..ablation.conftest import in_process

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "paper.md").read_text("utf-8")
TABLES = {
    title: [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in re.findall(r"^\|(?!---)(.*)$", body, re.MULTILINE)
    ][1:]
    for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
}
ROWS = {
    "Equations": {"3.1": 4, "3.2": 8, "3.3": 4, "3.4": 3, "3.4, 4.3": 1, "4.2.2": 1},
    "Table 1: classifiers on ImageNet": {"ViT": 3, "ADD": 2},
    "Table 2: ablation": dict.fromkeys("12345678", 1),
    "Table 3: captions": {"ground": 1, "shuffled": 1, "PDD": 1, "ADD-generated": 1, "perpl": 1},
    "Figures": dict.fromkeys(["1", "2a", "2b", "3", "4", "5", "6", "7"], 1),
    "Numbers that the paper states": {"": 9},
}
"""Section -> how a first cell begins -> at least as many rows."""
COMMANDS = list(
    dict.fromkeys(
        span
        for title in ROWS
        for row in TABLES[title]
        for cell in row
        for span in re.findall(r"`(addkit [^`]*)`", cell)
        # Named by the text of a row, with no arguments of its own.
        if span != "addkit report"
    )
)
SHALLOW = ("encoder.depth=1", "denoiser.depth=1")
DIGITS = (
    *('data={name="digits"}', "encoder.widths=[8]", "training.epochs=2", "training.reuse=1"),
    *("denoiser.width=16", "denoiser.depth=1", "denoiser.heads=2", "training.warmup_epochs=1"),
)
EMOJI = (
    *("data.image_size=8", "encoder.widths=[8]", "denoiser.width=16", "denoiser.depth=1"),
    *("denoiser.heads=2", "training.epochs=1", "training.warmup_epochs=1"),
    *("training.batch_size=450", "sampling.steps=1", "sampling.batch_size=256"),
)
PHASES: dict[str, tuple[str, ...]] = {
    "large": (r"train recipes/(imagenet|coco)", r"ablate recipes/imagenet-", "recipes", "schedule"),
    "one label": (
        r"train recipes/fashion-mnist-paper",
        r"evaluate --(?!clip)",
        r"plot (accuracy|steps)",
        r"plot chain -o",
        "sample",
    ),
    "losses": (r"ablate recipes/fashion", r"plot chain( FOLDER.*)?$", "plot differences"),
    "captions": (r"train recipes/emoji", r"evaluate( --clip.*)?$", "plot samples"),
}
"""Phase -> patterns of its commands, in the order in which they run."""


def _of(phase: str) -> list[str]:
    """The commands of a phase, in the order of its patterns."""
    return [
        command
        for pattern in PHASES[phase]
        for command in COMMANDS
        if re.match(f"addkit {pattern}", command)
    ]


def _sets(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


@pytest.fixture
def reader(tmp_path: Path, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    shutil.copy(digit_images[0], tmp_path / "image.png")
    # By import, since the package exports the function under the module's name.
    monkeypatch.setattr(importlib.import_module("addkit.ablation.ablate"), "execute", in_process)
    return tmp_path


@pytest.mark.parametrize("title", ROWS)
def test_every_part_of_the_paper_has_a_row_with_a_command(title: str) -> None:
    rows = TABLES[title]
    assert [row for row in rows if not re.search(r"`addkit \w+", " ".join(row[1:]))] == []
    for begin, count in ROWS[title].items():
        exact = title == "Equations"
        found = [row for row in rows if (row[0] == begin if exact else row[0].startswith(begin))]
        assert len(found) >= count, f"{title}: {begin}"


def test_every_command_belongs_to_a_phase() -> None:
    assert {*COMMANDS} == {command for phase in PHASES for command in _of(phase)}


@pytest.mark.parametrize("phase", PHASES)
def test_every_command_runs(phase: str, addkit: Any, reader: Path) -> None:
    folder = ""
    # Each command once with the same arguments, whichever options the phase leaves out.
    done = set()
    for command in _of(phase):
        words = shlex.split(command)[1:]
        if "--clip" in words:
            # Its weights are not at hand; the text scores are.
            del words[words.index("--clip") :]
        if phase == "large" and words[0] in ("train", "ablate"):
            words += ["--dry-run", *(_sets(*SHALLOW) if words[0] == "train" else ())]
        elif words[0] in ("train", "ablate"):
            words += [*_sets(*(EMOJI if phase == "captions" else DIGITS)), "--json"]
        elif words[0] == "plot":
            words = ["plot", words[1], *([folder] if phase == "losses" else []), "-o", "figure.svg"]
        elif words[0] == "evaluate":
            words += ["--no-audit"]
        if tuple(words) in done:
            continue
        done.add(tuple(words))
        result = addkit(*words)
        assert result.code == 0, f"{command}: {result.err}"
        if words[0] == "ablate" and phase == "losses":
            folder = str(next((reader / "runs" / "ablations").glob("*/result.json")).parent)


def test_hours_follow_from_the_plan() -> None:
    """GFLOP x images x steps over 40 % of an A100, for each row of the table of costs."""
    for name, _, gflop, plan, hours in TABLES["Cost"]:
        recipe = read_recipe(ROOT / "recipes" / f"{name.strip('`')}.toml")
        operations, batch = float(gflop.replace(",", "")), recipe.training.batch_size
        epochs, steps, images = (int(part.replace(",", "")) for part in plan.split(" x "))
        assert (epochs, images) == (recipe.training.epochs, batch)
        seconds = operations * epochs * steps * images / (0.4 * 312_000)
        assert round(seconds / 3600) == int(hours.replace(",", "")), name


@pytest.mark.filterwarnings("ignore::addkit.errors.AddkitWarning")
@pytest.mark.parametrize("name", [row[0].strip("`") for row in TABLES["Cost"]])
def test_stated_parameters_are_those_of_the_network(name: str) -> None:
    recipe = read_recipe(ROOT / "recipes" / f"{name}.toml")
    counts = build_network(recipe, build_data(recipe).facts, device="meta").parameter_counts()
    assert f"{counts.total:,}" in {row[1] for row in TABLES["Cost"] if row[0] == f"`{name}`"}
    # Also where the numbers of the paper are listed.
    if name in ("imagenet", "coco"):
        assert f"{counts.total:,}" in str(TABLES["Numbers that the paper states"])
