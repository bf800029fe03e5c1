"""Every command line of README and docs is run if it is quick, and parsed otherwise.

A comment above a block selects its treatment:

    run: --set training.epochs=1     run all its commands, in order with those of the page's other
                                     such blocks, and `train` with these arguments too
    not run: needs two machines      parse it only; required with torchrun, srun or sbatch
    exit 2: an unknown name          expect this exit code
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from addkit.cli.main import _quiet_first, app
from addkit.cli.plugin_commands import plugins_first
from addkit.recipe import read_recipe

Cli = Callable[..., Any]

ROOT = Path(__file__).parents[2]
QUICK = {
    *("recipes list", "recipes show", "recipes check", "recipes diff", "runs list"),
    *("plugins list", "plugins show", "schedule show", "schema", "env"),
}
"""Always run: they take a fraction of a second."""
OF_PLUGINS = ("claims", "theory")
"""Commands of plugins/addkit-paper, whose own tests parse and run those of the docs."""
CLUSTER = re.compile(r"\b(torchrun|srun|sbatch|scontrol)\b")
FOREIGN = {"--max-restarts", "--gpus-per-task", "--list"}
"""Options of torchrun, SLURM and `addkit theory` that the text names."""


def _leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for word, inner in getattr(command, "commands", {}).items():
        yield from _leaves(inner, f"{name} {word}".strip())
    if name and not hasattr(command, "commands"):
        yield name, command


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Parse a command line into (command, values); raises the command line's errors."""
    tree: Any = typer.main.get_command(app)
    calls: list[tuple[str, dict[str, Any]]] = []
    tree.callback = lambda **_: None
    for option in tree.params:
        option.callback = None  # No plugin file of the docs is loaded here.
    for name, command in _leaves(tree):
        command.callback = lambda name=name, **values: calls.append((name, values))
    tree.main(plugins_first(_quiet_first(words)), prog_name="addkit", standalone_mode=False)
    return calls[0] if calls else ("", {})


def _own(script: Any) -> list[list[str]]:
    return [words for words in script.commands if words[:1] not in [[one] for one in OF_PLUGINS]]


def test_commands_can_be_parsed(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for words in _own(script):
        _, values = parsed(words)
        recipe = str(values.get("recipe") or "")
        ours = recipe.startswith("recipes/") or (recipe and "." not in recipe)
        if ours and "--plugin-file" not in words and not script.note.startswith("exit"):
            read_recipe(Path(recipe), values.get("set_") or [])


def test_cluster_commands_are_marked(script: Any) -> None:
    if CLUSTER.search(script.text):
        assert script.note.startswith("not run: needs "), f"{script}: say why it is not run"


def test_quick_commands_run(script: Any, addkit: Cli, tmp_path: Path) -> None:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    if script.note.startswith(("run:", "not run:")):
        return
    wanted = int(script.note[5]) if script.note.startswith("exit ") else 0
    for words in _own(script):
        if parsed(words)[0] in QUICK or wanted:
            result = addkit(*words)
            assert result.code == wanted, f"{script}: {result.err}"


@pytest.fixture
def no_plugin_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Deselect the plugin files of a page afterwards."""
    from addkit.plugin.registry import _selected
    from addkit.plugin.selection import FILES

    monkeypatch.setenv(FILES, "")
    _selected.cache_clear()
    yield
    _selected.cache_clear()


@pytest.fixture
def reader(tmp_path: Path, digit_images: list[Path]) -> Path:
    """A folder with the recipes, images and a picture, in which a page is run."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(digit_images):
        shutil.copy(image, tmp_path / "photos" / f"{number}.png")
    shutil.copy(digit_images[0], tmp_path / "image.png")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


@pytest.mark.usefixtures("no_plugin_left")
def test_marked_blocks_run_in_order(page: Any, addkit: Cli, reader: Path) -> None:
    for block in page.of("python"):
        if block.note.startswith("file: "):
            (reader / block.note.removeprefix("file: ")).write_text(block.text)
    for block in page.of("console"):
        if block.note.startswith("run:"):
            more = block.note.removeprefix("run:").split()
            for words in _own(block):
                result = addkit(*words, *(more if words[0] == "train" else ()))
                assert result.code == 0, f"{block}: {result.err}"


def test_options_in_the_text_exist(page: Any) -> None:
    tree: Any = typer.main.get_command(app)
    parameters = [p for _, command in [("", tree), *_leaves(tree)] for p in command.params]
    options = {word for p in parameters for word in (*p.opts, *p.secondary_opts)}
    for span in page.spans:
        if span.startswith(("python ", "pip ")):
            continue
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", span))
        unknown = named - options - FOREIGN - {"--help"}
        assert not unknown, f"{page}: `{span}` names {unknown}"
