from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from addkit.errors import AddkitWarning, PluginError
from addkit.plugin import UnknownComponent, load_registry
from addkit.plugin.registry import _selected, loaded_third_parties
from addkit.plugin.selection import FILES, ONLY, STRICT, WITHOUT, Selection, canonical, select

Install = Callable[[str, str, str], EntryPoint]

CODE = """
from addkit.plugin import Config, ScheduleSpec, hookimpl
@hookimpl
def addkit_components():
    yield ScheduleSpec(name="{}", config=Config, build=lambda c, p: None, summary="")
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No selection before, and none left behind."""
    for name in (ONLY, WITHOUT, FILES, STRICT):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    _selected.cache_clear()
    yield
    _selected.cache_clear()


@pytest.fixture
def two(install: Install) -> None:
    """Installed plugins a-one and b-two with one schedule each."""
    install("a-one", "a_one", CODE.format("one"))
    install("b-two", "b_two", CODE.format("two"))


def added() -> set[str]:
    _selected.cache_clear()
    return set(load_registry().names("schedule")) & {"one", "two", "three"}


def test_all_are_loaded(two: None) -> None:
    assert added() == {"one", "two"}
    assert load_registry().disabled == ()
    assert load_registry() is load_registry()


@pytest.mark.parametrize(
    ("variable", "value", "left"),
    [
        (ONLY, "", set()),
        (ONLY, "a-one", {"one"}),
        (ONLY, "A_One, b.two", {"one", "two"}),
        (WITHOUT, "b-two", {"one"}),
        (WITHOUT, "a-one,b-two", set()),
    ],
)
def test_a_selection(
    two: None, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, left: set[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert added() == left
    assert len(load_registry().disabled) == 2 - len(left)
    assert "cosine" in load_registry().names("schedule")


def test_a_component_that_is_left_out(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WITHOUT, "b-two")
    with pytest.raises(UnknownComponent, match=r"Known: cosine, .* Plugins left out: b-two\.$"):
        load_registry().get("schedule", "two")
    assert loaded_third_parties() == ("a-one",)


def test_a_name_that_nobody_has(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WITHOUT, "a-won")
    with pytest.raises(PluginError) as caught:
        load_registry()
    assert str(caught.value) == (
        'no installed plugin is called "a-won" (did you mean "a-one"?). Installed: a-one, b-two.'
    )


def test_options_write_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "three.py"
    file.write_text(CODE.format("three"))
    select(none=True, without=["x"], files=[file])
    select(none=False, without=["y"], files=[file])
    assert os.environ[ONLY] == ""
    assert os.environ[WITHOUT] == "x,y"
    assert os.environ[FILES] == str(file)
    assert Selection.from_environment() == Selection(only=(), without=("x", "y"), files=(file,))


def test_a_missing_plugin_file(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"plugin file .*three\.py: no such file\."):
        select(none=False, without=[], files=[tmp_path / "three.py"])


def test_a_plugin_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "three.py"
    file.write_text(CODE.format("three"))
    monkeypatch.setenv(FILES, str(file))
    provided = load_registry().get("schedule", "three")
    assert provided.distribution == "three.py"
    assert provided.version.startswith("sha256:")
    assert len(provided.version) == len("sha256:") + 8
    file.write_text(CODE.format("three") + "# changed\n")
    _selected.cache_clear()
    assert load_registry().get("schedule", "three").version != provided.version


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1 / 0", r"broken\.py sha256:\w{8}: ZeroDivisionError: division by zero"),
        ("", r"broken\.py sha256:\w{8}: it has no hook; is @hookimpl missing"),
        (
            CODE.format("cosine"),
            r'schedule "cosine" is provided by addkit \S+ and broken\.py sha256:\w{8}; '
            "leave out --plugin-file",
        ),
    ],
)
def test_a_broken_plugin_file_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, text: str
) -> None:
    file = tmp_path / "broken.py"
    file.write_text(code)
    monkeypatch.setenv(FILES, str(file))
    with pytest.raises(PluginError, match=text):
        load_registry()


def test_a_file_that_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "plugin.txt"
    file.write_text("")
    monkeypatch.setenv(FILES, str(file))
    with pytest.raises(PluginError, match=r"is no Python file; its name must end in \.py"):
        load_registry()


def test_a_file_that_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILES, str(tmp_path / "gone.py"))
    with pytest.raises(PluginError, match=r"plugin file .*gone\.py: No such file"):
        load_registry()


def test_a_broken_plugin_is_told_once(install: Install) -> None:
    install("bad", "bad_plugin", "raise RuntimeError('no\\nluck')")
    with pytest.warns(AddkitWarning) as told:
        load_registry()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_registry()
    assert [str(one.message) for one in told] == [
        'broken plugin: bad 0.3 (entry point "mine"): RuntimeError: no luck; continuing'
    ]


def test_strict(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("bad", "bad_plugin", "raise RuntimeError('no luck')")
    monkeypatch.setenv(STRICT, "1")
    with pytest.raises(PluginError) as caught:
        load_registry()
    assert str(caught.value) == (
        'broken plugin: bad 0.3 (entry point "mine"): RuntimeError: no luck. '
        "(ADDKIT_STRICT_PLUGINS=1)"
    )
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("name", ["My_Plugin", "my.plugin", "my--plugin", "MY-PLUGIN"])
def test_canonical(name: str) -> None:
    assert canonical(name) == "my-plugin"
