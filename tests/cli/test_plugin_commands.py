"""Commands of plugins: listed without their modules, called, and harmless where they are broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.cli.commands import SUMMARIES, LazyCommands

Plugin = Callable[..., Path]

HOOK = """
from addkit import CommandSpec, hookimpl

@hookimpl
def addkit_commands():
    yield CommandSpec(name="{name}", help="Draw a picture.", command="{command}")
"""
MODULE = '''
import typer

def draw(count: int = typer.Option(1, help="Pictures."), end: int = 0) -> None:
    """Draw a picture, or several."""
    if count == 0:
        raise typer.BadParameter("no picture")
    if end:
        raise typer.Exit(end)
    print("drawn", 6 // (count - 3))

app = typer.Typer(rich_markup_mode=None)
app.command("one")(draw)

@app.command()
def two() -> None:
    """Draw two."""
    raise KeyError("two")

number = 5
'''


@pytest.fixture
def drawing(installed: Plugin) -> Callable[..., None]:
    """Installs a plugin with one command, whose function lies in another module."""

    def install(
        package: str = "my-plots", name: str = "draw", path: str = "drawing_code:draw"
    ) -> None:
        site = installed(package, HOOK.format(name=name, command=path))
        (site / "drawing_code.py").write_text(MODULE)

    return install


def _panel(help_text: str) -> str:
    return help_text.partition("Commands of plugins:\n")[2]


def test_help_lists_it_in_a_panel_without_importing_it(addkit: Any, drawing: Any) -> None:
    assert _panel(addkit("--help").out) == ""
    drawing()
    shown = addkit("--help")
    assert _panel(shown.out).split() == ["draw", "Draw", "a", "picture."]
    assert (shown.code, shown.err) == (0, "")
    assert "drawing_code" not in sys.modules


def test_it_runs_with_its_own_help_and_options(addkit: Any, drawing: Any) -> None:
    drawing()
    assert addkit("draw", "--count", "5").out == "drawn 3\n"
    for flag in ("--help", "-h"):
        shown = addkit("draw", flag)
        assert shown.out.startswith("Usage: addkit draw [OPTIONS]\n")
        assert "Draw a picture, or several." in shown.out
        assert "--install-completion" not in shown.out


def test_an_app_is_a_group(addkit: Any, drawing: Any) -> None:
    drawing(path="drawing_code:app")
    assert addkit("draw", "one").out == "drawn -3\n"
    assert "Draw two." in addkit("draw", "--help").out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--end", "7"), 7, ""),
        (("--count", "0"), 2, "no picture"),
        (("--count", "many"), 2, "--count"),
        (("--cuont", "1"), 2, "--cuont"),
        (("--count", "3"), 1, 'command "draw" of my-plots 0.3 failed: ZeroDivisionError'),
        (("--count", "3"), 1, "(drawing_code.py:10)"),
    ],
)
def test_errors_have_the_usual_codes_and_name_the_plugin(
    addkit: Any, drawing: Any, words: tuple[str, ...], code: int, text: str
) -> None:
    drawing()
    done = addkit("draw", *words)
    assert done.code == code
    assert text in done.err


def test_an_error_in_a_group_names_the_plugin(addkit: Any, drawing: Any) -> None:
    drawing(path="drawing_code:app")
    done = addkit("draw", "two")
    assert done.code == 1
    assert "of my-plots 0.3 failed: KeyError: 'two'" in done.err


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("drawing_code:nothing", "AttributeError"),
        ("no_such_module:draw", "ModuleNotFoundError"),
        ("drawing_code:number", "TypeError"),
    ],
)
def test_one_that_cannot_be_imported_is_listed_and_fails_when_called(
    addkit: Any, drawing: Any, path: str, text: str
) -> None:
    drawing(path=path)
    shown = addkit("--help")
    assert (shown.code, shown.err) == (0, "")
    done = addkit("draw")
    assert done.code == 2
    assert 'command "draw" of my-plots 0.3' in done.err
    assert text in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_begin_the_help_of_their_commands(name: str) -> None:
    # `addkit --help` prints them without importing the commands, so nothing else keeps them equal.
    text = LazyCommands()[name].help.splitlines()[0]
    assert text.startswith(SUMMARIES[name].removesuffix("."))


@pytest.mark.parametrize("own", SUMMARIES)
def test_none_shadows_a_command_of_ours(addkit: Any, drawing: Any, own: str) -> None:
    drawing(name=own)
    shown = addkit("--help")
    assert shown.code == 0
    assert _panel(shown.out) == ""
    assert SUMMARIES[own].split()[0] in shown.out
    assert f'command "{own}" of my-plots 0.3 is left out' in shown.err
    assert shown.err.count("\n") == 1
    assert "Draw a picture" not in addkit(own, "--help").out


def test_of_two_plugins_neither_wins(addkit: Any, drawing: Any) -> None:
    drawing("a-plots")
    drawing("b-plots")
    shown = addkit("--help")
    assert shown.code == 0
    assert "provided by a-plots 0.3 and b-plots" in " ".join(_panel(shown.out).split())
    done = addkit("draw")
    assert done.code == 2
    assert "a-plots 0.3 and b-plots 0.3" in done.err
    assert "--no-plugin a-plots or --no-plugin b-plots" in done.err
    assert addkit("draw", "--no-plugin", "a-plots").out == "drawn -3\n"


BROKEN = {
    "no-text": HOOK.format(name="draw", command="x:y").replace('"Draw a picture."', "None"),
    "no-path": HOOK.format(name="draw", command="drawing code"),
    "no-name": HOOK.format(name="Draw It", command="x:y"),
    "no-spec": HOOK.format(name="draw", command="x:y").replace("yield CommandSpec(", "yield dict("),
    "no-list": HOOK.format(name="draw", command="x:y").replace("yield", "return"),
    "raises": HOOK.format(name="draw", command="x:y") + "    raise ValueError('not today')\n",
    "exits": "raise SystemExit(3)",
}


@pytest.mark.parametrize("package", BROKEN)
def test_a_broken_one_is_one_line(
    addkit: Any, installed: Plugin, drawing: Any, package: str
) -> None:
    installed(package, BROKEN[package])
    drawing(name="paint")
    shown = addkit("--help")
    assert shown.code == 0
    assert _panel(shown.out).split()[0] == "paint"
    assert shown.err.count("\n") == 1
    assert f"broken plugin: {package} 0.3" in shown.err
    assert addkit("paint").code == 0
    rows = addkit("plugins", "list", "--json").json
    assert [row["distribution"] for row in rows if row["status"] == "broken"] == [package]
    assert addkit("plugins", "check", package).code == 2


def test_our_own_commands_import_no_plugin(addkit: Any, installed: Plugin, tmp_path: Path) -> None:
    installed("exits", BROKEN["exits"])
    done = addkit("runs", "list", "--root", tmp_path)
    assert (done.code, done.err.count("broken plugin")) == (0, 0)


def test_a_file_has_commands_too(addkit: Any, tmp_path: Path) -> None:
    code = HOOK.replace('"{command}"', 'f"{{__name__}}:draw"').format(name="draw")
    (tmp_path / "mine.py").write_text(code + MODULE.partition("app =")[0])
    for words in (("--plugin-file", "mine.py", "draw"), ("draw", "--plugin-file", "mine.py")):
        assert addkit(*words).out == "drawn -3\n"
    assert "draw" in _panel(addkit("--plugin-file", "mine.py", "--help").out)
    assert "draw" in _panel(addkit("--help", "--plugin-file", "mine.py").out)


def test_only_selected_plugins_have_commands(
    addkit: Any, drawing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing()
    assert addkit("--no-plugins", "draw").code == 2
    monkeypatch.delenv("ADDKIT_PLUGINS")
    assert addkit("draw").code == 0
    assert addkit("draw", "--no-plugin", "my-plots").code == 2
    monkeypatch.delenv("ADDKIT_NO_PLUGINS")
    monkeypatch.setenv("ADDKIT_PLUGINS", "")
    assert _panel(addkit("--help").out) == ""
    monkeypatch.setenv("ADDKIT_PLUGINS", "my-plots")
    assert "draw" in _panel(addkit("--help").out)


def test_list_show_and_check_know_it(addkit: Any, drawing: Any) -> None:
    drawing()
    (row,) = addkit("plugins", "list", "--kind", "command", "--json").json
    assert row == {
        "kind": "command",
        "name": "draw",
        "summary": "Draw a picture.",
        "distribution": "my-plots",
        "version": "0.3",
        "status": "ok",
    }
    assert addkit("plugins", "list", "--requirements").out == "my-plots==0.3\n"
    described = addkit("plugins", "show", "command", "draw", "--json").json
    assert described["command"] == "drawing_code:draw"
    done = addkit("plugins", "show", "command", "drwa")
    assert done.code == 2
    assert 'did you mean "draw"' in done.err
    (verdict,) = addkit("plugins", "check", "my-plots", "--json").json
    assert (verdict["name"], verdict["holds"], verdict["broken"]) == ("draw", True, {})


@pytest.mark.parametrize(
    ("given", "law"),
    [
        ({"path": "drawing_code:nothing"}, "can_be_imported"),
        ({"name": "train"}, "has_a_name_of_its_own"),
        ({"path": "drawing_code:app"}, "explains_itself"),
    ],
)
def test_check_finds_faults(addkit: Any, drawing: Any, given: dict[str, str], law: str) -> None:
    drawing(**given)
    done = addkit("plugins", "check", "my-plots", "--json")
    assert done.code == 1
    assert [list(verdict["broken"]) for verdict in json.loads(done.out)] == [[law]]


def test_a_new_package_works_and_passes_its_own_tests(
    addkit: Any, installed: Plugin, tmp_path: Path
) -> None:
    assert "addkit my-command\n" in addkit("plugins", "new", "my-command", "--kind", "command").out
    folder = tmp_path / "my-command"
    site = installed("my-command", source=folder / "src")
    assert addkit("my-command").out == ""
    (verdict,) = addkit("plugins", "check", "my-command", "--json").json
    assert verdict["broken"] == {}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(folder / "src")])},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("name", ["train", "plugins", "draw"])
def test_new_refuses_names_of_commands(addkit: Any, drawing: Any, name: str) -> None:
    drawing()
    done = addkit("plugins", "new", name, "--kind", "command")
    assert done.code == 2
    assert f'"{name}"' in done.err


@pytest.mark.parametrize(("line", "found"), [("dra", "draw"), ("draw --cou", "--count")])
def test_a_shell_completes_it(
    addkit: Any, drawing: Any, monkeypatch: pytest.MonkeyPatch, line: str, found: str
) -> None:
    drawing()
    monkeypatch.setenv("_ADDKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["addkit", *line.split()]))
    monkeypatch.setenv("COMP_CWORD", str(len(line.split())))
    assert addkit().out.split() == [found]
