"""What plugins provide, kept between commands, and when it is no longer trusted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.cli import remembered
from addkit.cli.completion import complete_component
from addkit.cli.remembered import only_built_ins, recall, remember

Plugin = Callable[..., Path]

GOOD = """
from addkit import hookimpl
from addkit.plugin import Config, ScheduleSpec


class Settings(Config):
    pass


@hookimpl
def addkit_components():
    yield ScheduleSpec(name="slow", config=Settings, build=lambda c, p: None, summary="S.")
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "addkit"


@pytest.fixture
def site(installed: Plugin) -> Path:
    return installed("good", GOOD)


def test_nothing_is_known_before_it_was_told(site: Path) -> None:
    assert not only_built_ins()
    assert recall("rows") is None
    remember("rows", [1, {"a": 2}])
    assert recall("rows") == [1, {"a": 2}]
    assert recall("words") is None


def _another_package(site: Path) -> None:
    (site / "another-1.dist-info").mkdir()


def _plugin_changed(site: Path) -> None:
    (site / "good.py").write_text(GOOD + "\n")


def _plugin_gone(site: Path) -> None:
    (site / "good.py").unlink()


@pytest.mark.parametrize("change", [_another_package, _plugin_changed, _plugin_gone])
def test_it_is_forgotten_when_something_changed(site: Path, change: Callable[[Path], None]) -> None:
    remember("rows", [1])
    before = site.stat()
    change(site)
    # Not by luck of the clock alone.
    if change is _another_package:
        os.utime(site, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert recall("rows") is None


def test_another_choice_of_plugins_is_another_memory(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember("rows", [1])
    monkeypatch.setenv("ADDKIT_PLUGINS", "")
    assert recall("rows") is None
    remember("rows", [2])
    monkeypatch.delenv("ADDKIT_PLUGINS")
    assert recall("rows") == [1]


def test_a_plugin_file_that_changed(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(GOOD)
    monkeypatch.setenv("ADDKIT_PLUGIN_FILES", str(tmp_path / "mine.py"))
    remember("rows", [1])
    assert recall("rows") == [1]
    (tmp_path / "mine.py").write_text(GOOD + "1")
    assert recall("rows") is None


def test_all_files_of_a_package_are_looked_at(installed: Plugin, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "good" / "deep").mkdir(parents=True)
    (source / "good" / "__init__.py").write_text(GOOD)
    (source / "good" / "deep" / "more.py").write_text("")
    installed("good", source=source)
    remember("rows", [1])
    assert recall("rows") == [1]
    (source / "good" / "deep" / "more.py").write_text("1")
    assert recall("rows") is None


def test_what_cannot_be_looked_at_is_not_kept(
    site: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MOST", 0)
    shutil.move(site / "good.py", site / "apart.py")
    (site / "good").mkdir()
    shutil.move(site / "apart.py", site / "good" / "__init__.py")
    remember("rows", [1])
    assert recall("rows") is None
    assert not cache.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": 1}'])
def test_a_memory_that_is_spoiled(site: Path, cache: Path, text: str) -> None:
    remember("rows", [1])
    (file,) = cache.iterdir()
    file.write_text(text)
    assert recall("rows") is None


def test_a_cache_that_cannot_be_written(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember("rows", [1])
    assert recall("rows") is None


def test_a_second_list_asks_no_registry(
    addkit: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = addkit("plugins", "list", "--json")
    assert ("schedule", "slow") in {(row["kind"], row["name"]) for row in first.json}
    assert "slow" in complete_component("schedule")("sl")
    monkeypatch.setattr("addkit.plugin.load_registry", lambda: pytest.fail("asked"))
    assert addkit("plugins", "list", "--json") == first
    assert "slow" in addkit("plugins", "list").out
    assert complete_component("schedule")("sl") == ["slow"]


def test_what_is_broken_is_told_each_time(addkit: Any, installed: Plugin) -> None:
    installed("bad", "1 / 0")
    for _ in range(2):
        from addkit.plugin.registry import _selected

        _selected.cache_clear()
        assert "broken plugin: bad 0.3" in addkit("plugins", "list").err
