"""Distributions that are installed for a test: a module, and the metadata that pip would write."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

Install = Callable[[str, str, str], EntryPoint]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one module and one entry point where Python finds it."""

    def install_one(name: str, module: str, code: str) -> EntryPoint:
        info = tmp_path / f"{name.replace('-', '_')}-0.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
        (info / "entry_points.txt").write_text(f"[addkit]\nmine = {module}\n")
        (tmp_path / f"{module}.py").write_text(code)
        (found,) = distributions(name=name, path=[str(tmp_path)])
        return next(iter(found.entry_points))

    monkeypatch.syspath_prepend(tmp_path)
    yield install_one
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
