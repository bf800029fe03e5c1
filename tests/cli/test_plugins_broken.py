"""Ten plugins of somebody else's that are broken: each is named, and unrelated commands go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.plugin.registry import _selected
from addkit.plugin.selection import REPORTED_BY

Plugin = Callable[..., Path]

GOOD = """
from addkit.plugin import Config, ScheduleSpec, hookimpl

def build(config, problem):
    from addkit.schedules.settings import CosineConfig
    from addkit.schedules.closed_form import CosineSchedule
    return CosineSchedule(CosineConfig())

@hookimpl
def addkit_components():
    yield ScheduleSpec(name="square", config=Config, build=build, summary="Square.")
"""

SET_ASIDE = {
    "import-error": (
        "import nowhere_at_all",
        "ModuleNotFoundError: No module named 'nowhere_at_all'",
    ),
    "wrong-hook": (
        GOOD.replace("def addkit_components", "def addkit_component"),
        'PluginError: addkit has no hook "addkit_component" (did you mean "addkit_components"?). '
        "Hooks: addkit_components, addkit_commands",
    ),
    "wrong-return": (
        GOOD.replace("yield ScheduleSpec(", "return dict("),
        "PluginError: addkit_components must yield Specs, not 'name'",
    ),
    "wrong-api": (
        f"ADDKIT_API = 9\n{GOOD}",
        "PluginError: it needs plugin API 9, and this addkit has 2; upgrade addkit",
    ),
    "to-nothing": (None, "ModuleNotFoundError: No module named 'to_nothing'"),
}
"""Name -> what its module says, and what is said of it."""

RECIPE = 'extends = "digits"\n[schedule]\nname = "square"\n'


@pytest.mark.parametrize("name", SET_ASIDE)
def test_it_is_set_aside_in_one_line(addkit: Any, installed: Plugin, name: str) -> None:
    code, error = SET_ASIDE[name]
    installed(name, code)
    said = addkit("plugins", "show", "loss", "ce", "--json")
    assert said.code == 0
    assert said.json["name"] == "ce"
    told = f'{name} 0.3 (entry point "mine"): {error}'
    assert said.err == f"warning: broken plugin: {told}; continuing\n"


@pytest.mark.parametrize("name", SET_ASIDE)
def test_the_list_shows_it(addkit: Any, installed: Plugin, name: str) -> None:
    code, error = SET_ASIDE[name]
    installed(name, code)
    rows = addkit("plugins", "list", "--json").json
    assert [row for row in rows if row["status"] != "ok"] == [
        {
            "kind": None,
            "name": "mine",
            "summary": error,
            "distribution": name,
            "version": "0.3",
            "status": "broken",
        }
    ]


@pytest.mark.parametrize("name", SET_ASIDE)
def test_a_recipe_that_needs_it_hears_why(
    addkit: Any, installed: Plugin, tmp_path: Path, name: str
) -> None:
    code, error = SET_ASIDE[name]
    installed(name, code)
    (tmp_path / "mine.toml").write_text(RECIPE)
    said = addkit("train", "mine.toml", "--dry-run")
    assert said.code == 2
    assert "mine.toml:3: [schedule] no schedule is called" in said.err
    assert f'Broken plugin: {name} 0.3 (entry point "mine"): {error}.' in said.err


def test_processes_of_one_command_tell_it_once(
    addkit: Any, installed: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("import-error", SET_ASIDE["import-error"][0])
    assert "broken plugin" in addkit("plugins", "show", "loss", "ce").err
    for name, value in ((REPORTED_BY, "1"), ("RANK", "1")):
        _selected.cache_clear()
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv(name, value)
            assert addkit("plugins", "show", "loss", "ce").err == ""


def test_strict_stops(addkit: Any, installed: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("import-error", SET_ASIDE["import-error"][0])
    monkeypatch.setenv("ADDKIT_STRICT_PLUGINS", "1")
    said = addkit("plugins", "list")
    assert said.code == 2
    assert said.err.startswith("error: broken plugin: import-error 0.3")


def test_a_clash_with_a_built_in(addkit: Any, installed: Plugin) -> None:
    installed("my-schedules", GOOD.replace('"square"', '"cosine"'))
    said = addkit("plugins", "list")
    assert said.code == 2
    assert re.fullmatch(
        r'error: schedule "cosine" is provided by addkit \S+ and my-schedules 0\.3; '
        r"disable one with --no-plugin my-schedules\n",
        said.err,
    )
    assert addkit("--help").code == 0
    assert addkit("plugins", "list", "--no-plugin", "my-schedules").code == 0


def test_a_clash_with_another_plugin(addkit: Any, installed: Plugin) -> None:
    installed("a-one", GOOD)
    installed("b-two", GOOD)
    said = addkit("plugins", "list")
    assert said.code == 2
    assert said.err == (
        'error: schedule "square" is provided by a-one 0.3 and b-two 0.3; '
        "disable one with --no-plugin a-one or --no-plugin b-two\n"
    )
    left = addkit("--no-plugin", "b-two", "plugins", "list", "--kind", "schedule", "--json").json
    assert [row["distribution"] for row in left if row["name"] == "square"] == ["a-one"]


def test_a_config_that_imports_torch(installed: Plugin) -> None:
    site = installed("heavy", f"import torch\n{GOOD}")
    code = (
        "import sys; sys.argv[1:] = ['plugins', 'list', '--kind', 'schedule', '--json']\n"
        "from addkit.cli.main import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
    )
    assert '"status": "imports torch"' in done.stdout
    assert done.stderr == (
        "warning: plugin heavy 0.3 imports torch when it is loaded; import it inside build "
        "instead; continuing\n"
    )


def test_a_builder_that_raises(addkit: Any, installed: Plugin, tmp_path: Path) -> None:
    installed("raises", GOOD.replace("return CosineSchedule", "raise KeyError('x')  #"))
    (tmp_path / "mine.toml").write_text(RECIPE)
    said = addkit("train", "mine.toml", "--dry-run")
    assert said.code == 2
    assert 'error: schedule "square" of raises 0.3 cannot be built: KeyError: ' in said.err
    assert addkit("plugins", "show", "schedule", "square").code == 0


def test_a_wrong_shape(addkit: Any, installed: Plugin) -> None:
    wrong = """
    class Wrong(CosineSchedule):
        def alpha_bar(self, t):
            return super().alpha_bar(t).reshape(-1, 1)
    return Wrong(CosineConfig())
"""
    code = GOOD.replace("    return CosineSchedule(CosineConfig())\n", wrong)
    installed("wrong-shape", code)
    said = addkit("plugins", "check", "wrong-shape")
    assert said.code == 1
    assert "FAIL  schedule square: " in said.out
    assert "keeps_the_shape_of_t" in said.out
    assert "But alpha_bar of t () has shape (1, 1), not ()" in said.out
    assert addkit("plugins", "show", "loss", "ce").code == 0


FLAT = """
from addkit.plugin import ConditionerSpec, Config, hookimpl

class Settings(Config):
    pass

def build(config, problem):
    from torch import nn

    class Flat(nn.Module):
        width, num_tokens = problem.encoder_width, 1

        def forward(self, tokens):
            return tokens.amax(1)

    return Flat()

@hookimpl
def addkit_components():
    yield ConditionerSpec(
        name="flat",
        config=Settings,
        build=build,
        summary="S.",
        provides=frozenset({"one-token"}),
    )
"""


def test_a_training_names_who_gave_a_wrong_shape(addkit: Any, installed: Plugin) -> None:
    installed("flat", FLAT)
    said = addkit("train", "digits", "--set", "conditioner.name=flat", "--run-dir", "run")
    assert said.code == 2
    last = said.err.splitlines()[-1]
    assert 'the conditioner "flat" of flat 0.3' in last
    assert "(32, 64), not (32, 1, 64)" in last
    # The command that finds the fault without a training.
    assert "`addkit plugins check`" in last


def test_tokens_that_its_spec_denies(addkit: Any, installed: Plugin) -> None:
    installed("flat", FLAT.replace("num_tokens = problem.encoder_width, 1", "num_tokens = 64, 3"))
    said = addkit("train", "digits", "--set", "conditioner.name=flat", "--dry-run")
    assert (said.code, said.err) == (
        2,
        'error: the conditioner "flat" of flat 0.3 gives 3 tokens with these settings, and its '
        'Spec provides "one-token"\n',
    )


def test_an_ability_that_nothing_asks_for(addkit: Any, installed: Plugin) -> None:
    installed("flat", FLAT.replace('"one-token"', '"one-tokn"'))
    said = addkit("plugins", "check", "flat")
    assert 'it provides "one-tokn", which nothing asks for (did you mean "one-token"?)' in said.out
    said = addkit("train", "digits", "--set", "conditioner.name=flat", "--dry-run")
    assert '"flat" gives many tokens (its Spec does not provide "one-token")' in said.err
