"""Plugins for the command line's tests: installed as pip would, and gone afterwards."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from addkit.plugin import commands
from addkit.plugin.registry import _selected
from addkit.plugin.selection import FILES, ONLY, STRICT, WITHOUT

Plugin = Callable[..., Path]


def _forget() -> None:
    _selected.cache_clear()
    commands.load_selected_commands.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    """Puts a distribution with one entry point where Python finds it; gives its folder.

    `code` is the text of its module; without, the module lies in the folder `source`.
    """
    site = tmp_path / "site"
    site.mkdir()

    def install(name: str, code: str | None = None, source: Path | None = None) -> Path:
        module = name.replace("-", "_")
        info = site / f"{module}-0.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
        (info / "entry_points.txt").write_text(f"[addkit]\nmine = {module}\n")
        if code is not None:
            (site / f"{module}.py").write_text(code)
        if source is not None:
            monkeypatch.syspath_prepend(source)
        importlib.invalidate_caches()
        _forget()
        return site

    for name in (FILES, ONLY, STRICT, WITHOUT):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.syspath_prepend(site)
    yield install
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    _forget()
