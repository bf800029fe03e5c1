from __future__ import annotations

import os
from pathlib import Path

import pytest

from addkit.data import loader
from addkit.data.loader import fitting_workers


@pytest.fixture
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ninety cores, and a file that may say less."""
    path = tmp_path / "cpu.max"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(90)), raising=False)
    monkeypatch.setattr(loader, "_QUOTA", path)
    return path


@pytest.mark.parametrize(("processes", "workers"), [(1, 8), (8, 8), (16, 4), (45, 1), (90, 0)])
def test_cores_are_shared_out(quota: Path, processes: int, workers: int) -> None:
    assert fitting_workers("auto", processes) == workers


@pytest.mark.parametrize(
    ("text", "workers"),
    [("max 100000", 8), ("400000 100000", 3), ("50000 100000", 0), ("odd", 8), ("1 0 2", 8)],
)
def test_a_container_may_have_fewer(quota: Path, text: str, workers: int) -> None:
    quota.write_text(text)
    assert fitting_workers("auto", 1) == workers


def test_a_number_stays(quota: Path) -> None:
    assert fitting_workers(50, 4) == 50
    assert fitting_workers(0, 1) == 0


def test_without_affinity_all_cores_count(quota: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert fitting_workers("auto", 1) == 3
