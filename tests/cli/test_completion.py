"""What a shell completes, asked as the scripts of `--install-completion` ask."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from addkit.cli import completion
from addkit.cli.main import app
from addkit.report.contents import FIGURES
from addkit.runs import RUNS

Cli = Callable[..., Any]
Tab = Callable[..., list[str]]
VARIABLE = "_ADDKIT_COMPLETE"


@pytest.fixture
def tab_at(addkit: Cli, monkeypatch: pytest.MonkeyPatch) -> Tab:
    """Completions of the last word of a line, as bash gets them."""

    def press(line: str) -> list[str]:
        words = ["addkit", *line.split()]
        if line.endswith(" ") or not line:
            words.append("")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv(VARIABLE, "complete_bash")
        said = addkit()
        assert (said.code, said.err) == (0, "")
        return said.out.splitlines()

    return press


@pytest.fixture
def two_runs(addkit: Cli) -> None:
    for age, name in enumerate(("new", "old")):
        Path("runs", name).mkdir(parents=True)
        recipe = Path("runs", name, "recipe.toml")
        recipe.write_text("")
        os.utime(recipe, (1e9 - age, 1e9 - age))
    Path("runs/notes").mkdir()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("tr", ["train"]),
        ("rec", ["recipes"]),
        ("recipes d", ["diff"]),
        ("schedule ", ["show"]),
        ("--ver", ["--version"]),
        ("sample --st", ["--steps"]),
        ("evaluate --no-a", ["--no-audit"]),
        ("sample -", None),
        ("zebra", []),
        ("recipes show dig", ["digits"]),
        ("recipes check digits emoji-", ["emoji-orders"]),
        ("recipes diff digits emoji-", ["emoji-orders"]),
        ("recipes diff digits emoji x", []),
        ("ablate dig", ["digits"]),
        ("sample --run ", ["runs/new", "runs/old"]),
        ("sample --run runs/o", ["runs/old"]),
        ("sample --run=runs/o", ["runs/old"]),
        ("evaluate --run runs/n", ["runs/new"]),
        ("runs show ", ["runs/new", "runs/old"]),
        ("runs compare runs/old runs/n", ["runs/new"]),
        ("report ru", ["runs/new", "runs/old"]),
        ("plot rel", ["reliability"]),
        ("plot losses runs/n", ["runs/new"]),
        ("recipes diff runs/n", ["runs/new"]),
        ("schedule show cosine li", ["linear"]),
        ("ablate --loss w", ["weighted-ce"]),
        ("ablate --loss ce,m", ["ce,mse", "ce,mse-noise"]),
        ("ablate --loss ce --schedule li", ["linear"]),
        ("sample --sampler re", ["refine", "renoise"]),
        ("evaluate --read-out one-pass,l", ["one-pass,last", "one-pass,likelihood"]),
        ("ablate --set training.ep", ["training.epochs="]),
        ("evaluate --set data.ro", ["data.root="]),
        ("ablate --set loss.name", ["loss.name="]),
        ("ablate --set se", ["seed="]),
        ("ablate --set loss.name = m", ["mse", "mse-noise"]),
        ("ablate --set loss.name =", ["asymmetric", "ce", "mse", "mse-noise", "weighted-ce"]),
        ("ablate --set seed = ", []),
        ("sample --steps ", []),
        ("sample image.p", []),
        ("env ", []),
        ("report 'open", None),
    ],
)
def test_completions(tab_at: Tab, two_runs: None, line: str, told: list[str] | None) -> None:
    found = tab_at(line)
    if told is not None:
        assert found == told


def test_every_command_and_its_options_are_offered(tab_at: Tab) -> None:
    assert {"train", "sample", "runs", "recipes", "schema", "env"} <= set(tab_at(""))
    assert {"--run", "--steps", "--json", "--help"} <= set(tab_at("sample --"))


SHELLS = {
    "zsh": ('_arguments \'*: :(("mse"\n"mse-noise"))\'', "_files"),
    "fish": ("mse\nmse-noise", ""),
    "powershell": ("mse::: \nmse-noise::: ", ""),
    "pwsh": ("mse::: \nmse-noise::: ", ""),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_other_shells(addkit: Cli, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    some, none = SHELLS[shell]
    monkeypatch.setenv(VARIABLE, f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    for word, told in (("m", some), ("zz", none)):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"addkit ablate --loss {word}")
        monkeypatch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", word)
        said = addkit()
        assert (said.code, said.out.rstrip("\n"), said.err) == (0, told, "")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "addkit recipes ")
    monkeypatch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", "")
    assert "check" in addkit().out


@pytest.mark.parametrize(("word", "code"), [("m", 0), ("zz", 1)])
def test_fish_asks_first_whether_there_is_anything(
    addkit: Cli, monkeypatch: pytest.MonkeyPatch, word: str, code: int
) -> None:
    monkeypatch.setenv(VARIABLE, "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "is-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"addkit ablate --loss {word}")
    said = addkit()
    assert (said.code, said.out.strip()) == (code, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_typers_scripts_ask_as_we_answer(
    addkit: Cli, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv(VARIABLE, f"source_{shell}")
    monkeypatch.setattr("sys.modules", {**sys.modules, "__main__": None})
    script = addkit().out
    asks = {"bash": ("COMP_WORDS", "COMP_CWORD")}.get(shell, ("_TYPER_COMPLETE_ARGS",))
    assert f"complete_{shell}" in script
    assert all(name in script for name in asks)


def test_a_plugins_words_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from addkit.plugin import Config, LossSpec, hookimpl\n"
        "@hookimpl\n"
        "def addkit_components():\n"
        "    yield LossSpec(name='mine', config=Config, build=lambda c, p: None, summary='')\n"
    )
    monkeypatch.setenv("ADDKIT_PLUGIN_FILES", str(plugin))
    assert completion.complete_component("loss")("mi") == ["mine"]
    assert completion.complete_key("loss.name=mi") == ["loss.name=mine"]


def test_names_that_stand_twice_are_the_same() -> None:
    assert completion.RUNS == RUNS
    assert set(completion.FIGURES) == set(FIGURES)
    assert completion.complete_kind("lo") == ["loss"]


def test_every_option_that_takes_a_run_completes_runs(two_runs: None) -> None:
    group: Any = typer.main.get_command(app)
    commands = [*group.commands.values()]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
    options = [one for command in commands for one in command.params if "--run" in one.opts]
    assert len(options) >= 2
    told = [[item.value for item in one.shell_complete(None, "runs/n")] for one in options]
    assert told == [["runs/new"]] * len(options)


@pytest.mark.parametrize("line", ["tr", "ablate dig", "ablate --loss m", "sample --run r"])
def test_a_tab_loads_nothing_heavy(line: str) -> None:
    code = (
        "import sys\nfrom addkit.cli.main import main\n"
        "heavy = {'torch', 'pydantic', 'rich', 'numpy', 'matplotlib'}\n"
        "try:\n    main()\nfinally:\n    print(heavy & {*sys.modules}, file=sys.stderr)"
    )
    words = ["addkit", *line.split()]
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked, VARIABLE: "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "set()"
