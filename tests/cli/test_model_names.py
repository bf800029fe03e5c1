"""One network has one name, whichever command shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from addkit.plugin import load_registry
from addkit.recipe import read_recipe
from addkit.runs import Run

Cli = Callable[..., Any]

SMALL = (
    *("encoder.widths=[4]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
    *("denoiser.heads=2", "training.epochs=2", "training.evaluate_every=1"),
    *("training.batch_size=1024", "training.reuse=1", "data.image_size=8", "sampling.steps=2"),
)
MASKED = (
    *("process.name=masked", "sampler.name=maskgit", "embedding.name=token"),
    *("denoiser.bayes_skip=false", "read_out.name=consensus", 'control.heads=["masked-weighted"]'),
)
NAME, CONTROL = "masked diffusion", "control, masked-weighted"


def _words() -> Iterator[str]:
    for change in (*SMALL, *MASKED):
        yield "--set"
        yield change


def test_every_command_calls_a_run_and_its_control_alike(addkit: Cli, recipes: Path) -> None:
    said = addkit("train", recipes / "attributes.toml", "--run-dir", "r", *_words())
    assert said.code == 0, said.err
    titles = [
        line.split(":")[0] for line in said.err.splitlines() if re.search(r": \d+ steps", line)
    ]
    assert titles == [NAME, CONTROL]
    rows = [re.split(r"\s{2,}", line.strip())[0] for line in said.out.splitlines()[1:5]]
    assert rows == [NAME, NAME, CONTROL, CONTROL]

    run = Run(Path("r"))
    assert list(run.models()) == [NAME, CONTROL]
    assert run.recipe().model_name == NAME

    shown = addkit("runs", "show", "r")
    assert {f"{name}, {weights}" for name in (NAME, CONTROL) for weights in ("ema", "raw")} <= {
        re.split(r"\s{2,}", line.strip())[0] for line in shown.out.splitlines()
    }
    for figure in ("losses", "accuracy"):
        assert addkit("plot", figure, "r", "-o", f"{figure}.svg").code == 0
        drawn = Path(f"{figure}.svg").read_text("utf-8")
        assert NAME in drawn
        assert CONTROL in drawn
    assert addkit("report", "r", "-o", "page.html").code == 0
    page = Path("page.html").read_text("utf-8")
    assert NAME in page
    assert CONTROL in page
    assert "ADD, ema" not in shown.out + page


def test_the_process_names_the_model(recipes: Path) -> None:
    registry = load_registry()
    names = {n: registry.get("process", n).spec.model_name for n in registry.names("process")}
    assert names["gaussian"] == "ADD"
    assert all(names.values())
    assert read_recipe(recipes / "digits.toml").model_name == "ADD"
    head = ["denoiser={name='control', head='linear'}"]
    assert read_recipe(recipes / "digits.toml", head).model_name == "classifier"
