from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.plugin import KINDS
from addkit.plugin.spec import API_VERSION

Plugin = Callable[..., Path]

NAMES = {one.kind: f"my-{one.kind.replace('_', '-')}" for one in KINDS}


def test_list_has_every_component(addkit: Any, installed: Plugin) -> None:
    rows = addkit("plugins", "list", "--json").json
    assert {row["kind"] for row in rows} == {one.kind for one in KINDS}
    keys = {"kind", "name", "summary", "distribution", "version", "status"}
    assert all(set(row) == keys for row in rows)
    assert {row["distribution"] for row in rows} == {"addkit"}
    text = addkit("plugins", "list", "--kind", "loss").out
    assert "weighted-ce" in text
    assert "cosine" not in text


def test_lists_load_no_pydantic(tmp_path: Path) -> None:
    """Where no plugin is installed: pydantic takes longer to import than all else together."""
    code = (
        "import sys\nfrom addkit.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('pydantic.main' in sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "ADDKIT_PLUGINS": ""}
    for words in (["plugins", "list"], ["recipes", "list"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=True,
        )
        assert done.stderr.splitlines()[-1] == "False", words


def test_requirements_are_third_parties_alone(addkit: Any, installed: Plugin) -> None:
    assert addkit("plugins", "list", "--requirements").out == ""
    installed("bad", "1 / 0")
    assert addkit("plugins", "list", "--requirements").out == "bad==0.3\n"
    assert addkit("plugins", "list", "--requirements", "--json").json == ["bad==0.3"]


def test_a_plugin_that_is_left_out_is_listed(addkit: Any, installed: Plugin) -> None:
    installed("bad", "1 / 0")
    said = addkit("plugins", "list", "--no-plugins", "--json")
    assert said.err == ""
    assert [row for row in said.json if row["status"] == "disabled"] == [
        {
            "kind": None,
            "name": "mine",
            "summary": "",
            "distribution": "bad",
            "version": "0.3",
            "status": "disabled",
        }
    ]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("list", "--kind", "los"), 'no kind is called "los" (did you mean "loss"?). Kinds: task,'),
        (("show", "to-one", "argmax"), 'no kind is called "to-one" (did you mean "to_one"?).'),
        (("show", "loss", "weightd-ce"), 'no loss is called "weightd-ce" (did you mean "weighted'),
        (("check", "adkit"), 'no package "adkit" has components (did you mean "addkit"?). addkit'),
        (("check",), "no third party's plugin is installed; `addkit plugins check addkit` checks"),
    ],
)
def test_slips(addkit: Any, installed: Plugin, words: tuple[str, ...], error: str) -> None:
    said = addkit("plugins", *words)
    assert said.code == 2
    assert f"error: {error}" in said.err


def test_show_tells_all(addkit: Any) -> None:
    said = addkit("plugins", "show", "schedule", "cosine")
    assert "Nichol and Dhariwal 2021, equation 17." in said.out
    assert "at least 1e-06, below 1" in said.out
    table = said.out[said.out.index("[schedule]") :]
    assert tomllib.loads(table) == {
        "schedule": {"name": "cosine", "scale": 1.0, "t_power": 1.0, "offset": 0.008}
    }
    told = addkit("plugins", "show", "schedule", "cosine", "--json").json
    assert told["settings"][2] == {
        "name": "offset",
        "type": "number",
        "required": False,
        "default": "0.008",
        "range": "at least 1e-06, below 1",
        "meaning": "s, keeps the noise near t = 0 alive.",
    }
    assert told["table"] == table.strip()


def test_show_tells_abilities_needs_and_what_must_be_given(addkit: Any) -> None:
    said = addkit("plugins", "show", "loss", "mse-noise").out
    assert "needs: denoiser.bayes_skip = False, read_out.name = last" in said
    assert "provides: class-token" in addkit("plugins", "show", "encoder", "vit").out
    said = addkit("plugins", "show", "data", "image-folder").out
    assert "root =  # path, must be given" in said


@pytest.mark.parametrize(
    "words",
    [
        ["plugins", "list"],
        ["plugins", "show", "denoiser", "mlp"],
        ["plugins", "new", "x-y", "--kind", "loss"],
    ],
)
def test_no_torch(words: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv[1:] = {words}\n"
        "from addkit.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    print({'torch', 'timm', 'matplotlib', 'numpy'} & {*sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stderr == "set()\n"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (
            "MyLoss",
            '"MyLoss" cannot be a name: lower case, digits and single hyphens, a letter first '
            '(did you mean "my-loss"?).',
        ),
        (
            "my_loss",
            '"my_loss" cannot be a name: lower case, digits and single hyphens, a letter first '
            '(did you mean "my-loss"?).',
        ),
        ("9", '"9" cannot be a name: lower case, digits and single hyphens, a letter first.'),
        (
            "json",
            '"json" cannot be a name: Python has a module "json" already; take "json-loss", or '
            "another.",
        ),
        ("class", '"class" cannot be a name: Python has a module "class" already;'),
        ("weighted-ce", 'there is a loss "weighted-ce" already, of addkit'),
    ],
)
def test_new_refuses_names(addkit: Any, installed: Plugin, name: str, error: str) -> None:
    said = addkit("plugins", "new", name, "--kind", "loss")
    assert said.code == 2
    assert f"error: {error}" in said.err


def test_new_overwrites_nothing(addkit: Any, installed: Plugin, tmp_path: Path) -> None:
    (tmp_path / "my-loss").mkdir()
    (tmp_path / "my-loss" / "notes.txt").write_text("mine")
    said = addkit("plugins", "new", "my-loss", "--kind", "loss")
    assert said.code == 2
    assert "my-loss is there already; nothing is overwritten. Use --directory." in said.err
    assert addkit("plugins", "new", "my-loss", "--kind", "loss", "--directory", "x").code == 0
    assert (tmp_path / "x" / "pyproject.toml").exists()


def test_new_says_what_comes_next(addkit: Any, installed: Plugin) -> None:
    said = addkit("plugins", "new", "my-loss", "--kind", "loss").out
    assert "pip install -e my-loss" in said
    assert f"addkit train {Path('my-loss', 'recipes', 'my-loss.toml')}" in said
    told = addkit("plugins", "new", "my-other", "--kind", "loss", "--json").json
    assert told["directory"] == "my-other"
    assert len(told["files"]) == 7


@pytest.mark.parametrize("kind", NAMES)
def test_a_new_package_is_whole(addkit: Any, installed: Plugin, tmp_path: Path, kind: str) -> None:
    name = NAMES[kind]
    assert addkit("plugins", "new", name, "--kind", kind).code == 0
    folder = tmp_path / name
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["entry-points"]["addkit"] == {name: name.replace("-", "_")}
    page = next(folder.glob("src/*/__init__.py")).read_text("utf-8")
    assert f"ADDKIT_API = {API_VERSION}\n" in page
    assert "$" not in "".join(file.read_text("utf-8") for file in folder.rglob("*.py"))
    installed(name, source=folder / "src")
    (verdict,) = addkit("plugins", "check", name, "--json").json
    assert verdict["broken"] == {}
    assert verdict["skipped"] == ""
    said = addkit("recipes", "check", folder / "recipes" / f"{name}.toml")
    assert said.code == 0, said.err


def test_a_new_package_passes_its_own_tests(addkit: Any, installed: Plugin, tmp_path: Path) -> None:
    """One kind will do: the tests are the same text for all, and their laws are checked above."""
    addkit("plugins", "new", "my-conditioner", "--kind", "conditioner")
    folder = tmp_path / "my-conditioner"
    path = os.pathsep.join([str(installed("my-conditioner")), str(folder / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout


FILE = """
from pydantic import Field
from addkit.plugin import Config, ScheduleSpec, hookimpl

class StepConfig(Config):
    edge: float = Field(0.5, gt=0, lt=1)

def build(config, problem):
    class Step:
        scale = t_power = 1.0
        def alpha_bar(self, t):
            return (t < config.edge).float()
    return Step()

@hookimpl
def addkit_components():
    yield ScheduleSpec(name="step", config=StepConfig, build=build, summary="A step.")
"""


@pytest.mark.parametrize("first", [True, False])
def test_a_plugin_file(addkit: Any, installed: Plugin, tmp_path: Path, first: bool) -> None:
    (tmp_path / "step.py").write_text(FILE)
    option, words = ("--plugin-file", "step.py"), ("plugins", "list", "--kind", "schedule")
    said = addkit(*((*option, *words) if first else (*words, *option)))
    assert said.code == 0
    assert "step.py sha256:" in said.out
    # Processes that this one starts see it too.
    assert os.environ["ADDKIT_PLUGIN_FILES"] == str(tmp_path / "step.py")


def test_a_plugin_file_that_is_missing(addkit: Any, installed: Plugin) -> None:
    said = addkit("plugins", "list", "--plugin-file=nowhere.py")
    assert said.code == 2
    assert "plugin file nowhere.py: no such file." in said.err


FILE = """
from addkit import hookimpl
from addkit.plugin import Config, ScheduleSpec


class Settings(Config):
    pass


def build(config, problem):
    from addkit.schedules.closed_form import CosineConfig, CosineSchedule

    return CosineSchedule(CosineConfig())


@hookimpl
def addkit_components():
    yield ScheduleSpec(name="slow", config=Settings, build=build, summary="Falls slowly.")
"""


@pytest.mark.parametrize("more", [(), ("--plugin-file", "my.py")])
def test_a_file_is_checked(
    addkit: Any, installed: Plugin, tmp_path: Path, more: tuple[str, ...]
) -> None:
    (tmp_path / "my.py").write_text(FILE)
    said = addkit("plugins", "check", "my.py", *more)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("ok    schedule slow: ")


def test_a_file_that_is_not_there(addkit: Any, installed: Plugin) -> None:
    said = addkit("plugins", "check", "my.py")
    assert (said.code, said.err) == (2, "error: plugin file my.py: no such file.\n")


def test_a_packages_own_file_is_no_plugin_file(
    addkit: Any, installed: Plugin, tmp_path: Path
) -> None:
    package = tmp_path / "mine" / "src" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FILE)
    said = addkit("plugins", "list", "--plugin-file", package / "__init__.py")
    wanted = f"error: plugin file {package / '__init__.py'} is part of a package; install that"
    assert (said.code, said.err) == (2, f"{wanted} instead: pip install -e FOLDER.\n")
    (tmp_path / "mine" / "pyproject.toml").write_text("")
    said = addkit("plugins", "list", "--plugin-file", package / "__init__.py")
    assert said.err == f"{wanted} instead: pip install -e {tmp_path / 'mine'}.\n"


def test_a_packages_folder_is_checked(addkit: Any, installed: Plugin, tmp_path: Path) -> None:
    installed("mine", FILE)
    (tmp_path / "somewhere").mkdir()
    (tmp_path / "somewhere" / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    for word in ("somewhere/", "somewhere", "mine/", "mine"):
        said = addkit("plugins", "check", word)
        assert (said.code, said.out[:19]) == (0, "ok    schedule slow")


def test_the_next_command_has_the_plugin_file(
    addkit: Any, installed: Plugin, tmp_path: Path
) -> None:
    (tmp_path / "my.py").write_text(FILE)
    said = addkit("recipes", "list", "--plugin-file", "my.py")
    assert said.err.endswith("or addkit train NAME --plugin-file my.py\n")
