"""Results name the very code of a plugin, and nothing goes on silently with other code."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.ablation.results import inference_key, training_key
from addkit.plugin.registry import _selected, source_hash
from addkit.recipe import read_recipe

Plugin = Callable[..., Path]

CODE = """
from addkit.plugin import ConditionerSpec, Config, hookimpl


class Settings(Config):
    pass


def build(config, problem):
    from torch import nn

    class Pooled(nn.Module):
        width, num_tokens = problem.encoder_width, 1

        def forward(self, tokens):
            return tokens.mean(1, keepdim=True)

    return Pooled()


@hookimpl
def addkit_components():
    yield ConditionerSpec(
        name="pooled",
        config=Settings,
        build=build,
        summary="S.",
        provides=frozenset({"one-token"}),
    )
"""
SMALL = [
    word
    for change in (
        *("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("training.epochs=1", "control.heads=[]", "conditioner.name=pooled"),
    )
    for word in ("--set", change)
]
TRAIN = ("train", "digits", "--run-dir", "run", *SMALL)


@pytest.fixture
def site(installed: Plugin) -> Path:
    source_hash.cache_clear()
    return installed("pooling", CODE)


def _change(site: Path) -> None:
    """As an author edits it, and starts the next command."""
    (site / "pooling.py").write_text(CODE.replace("mean(1, keepdim", "amax(1, keepdim"))
    sys.modules.pop("pooling")
    importlib.invalidate_caches()
    _selected.cache_clear()
    source_hash.cache_clear()


def test_a_run_names_the_code(addkit: Any, site: Path) -> None:
    assert addkit(*TRAIN).code == 0
    components = json.loads(Path("run/manifest.json").read_text())["environment"]["components"]
    name, _, digits = components["conditioner"].rpartition(" sha256:")
    assert name == "pooled (pooling 0.3"
    assert len(digits.rstrip(")")) == 8
    assert components["loss"].startswith("ce (addkit ")
    assert "sha256" not in components["loss"]


def test_an_answer_by_other_code_is_told(addkit: Any, site: Path) -> None:
    addkit(*TRAIN)
    assert addkit("evaluate", "--run", "run", "--steps", "1").err.count("plugin") == 0
    _change(site)
    said = addkit("evaluate", "--run", "run", "--steps", "1")
    assert said.code == 0
    assert "warning: run: answers may differ: conditioner was pooled (pooling 0.3 sha2" in said.err
    assert ", since this run was trained" in said.err


def test_a_training_does_not_go_on_with_other_code(addkit: Any, site: Path) -> None:
    addkit(*TRAIN)
    assert addkit(*TRAIN, "--resume").code == 0
    _change(site)
    said = addkit(*TRAIN, "--resume")
    assert said.code == 1
    assert "run: a plugin has changed since this run began: conditioner was pooled " in said.err
    assert said.err.endswith("; bring the old one back, or use --fresh\n")
    assert addkit(*TRAIN, "--fresh").code == 0


def test_an_ablation_trains_anew_with_other_code(site: Path) -> None:
    """It keeps trainings by these keys; the built-in one's stays what it was."""

    def keys(name: str) -> tuple[str, str]:
        recipe = read_recipe(Path("digits"), [f"conditioner.name={name}"])
        return training_key(recipe), inference_key(recipe)

    before, own = keys("pooled"), keys("mean-token")
    assert keys("pooled") == before
    _change(site)
    after = keys("pooled")
    assert (after[0] != before[0], after[1]) == (True, before[1])
    assert keys("mean-token") == own


def test_a_run_whose_plugin_is_gone_says_whose_it_was(addkit: Any, site: Path) -> None:
    addkit(*TRAIN)
    said = addkit("evaluate", "--run", "run", "--no-plugins")
    assert said.code == 2
    assert 'no conditioner is called "pooled"' in said.err
    assert "This run was made with conditioner pooled (pooling 0.3 sha256:" in said.err


def test_what_a_plugin_prints_is_no_result(addkit: Any, installed: Plugin) -> None:
    installed("pooling", f"print('hello')\n{CODE}")
    said = addkit("plugins", "list", "--json", "--kind", "conditioner")
    assert [row["name"] for row in said.json if row["distribution"] != "addkit"] == ["pooled"]
    assert "hello" in said.err
