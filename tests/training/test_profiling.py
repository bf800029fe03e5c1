from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from addkit.training.profiling import ProfileWindow


def trained(window: ProfileWindow, steps: int) -> None:
    """Steps whose products have the sizes 1, 2, 3, ..."""
    with window:
        for size in range(1, steps + 1):
            matrix = torch.ones(size, size)
            matrix @ matrix
            window.step()


def products(window: ProfileWindow) -> int:
    trace = json.loads(gzip.decompress(window.paths[0].read_bytes()))
    return sum(event.get("name") == "aten::mm" for event in trace["traceEvents"])


@pytest.mark.parametrize(
    ("steps", "first", "length", "seen"), [(6, 3, 2, 2), (4, 1, 2, 2), (4, 3, 9, 2)]
)
def test_a_window_shows_its_steps_alone(
    tmp_path: Path, steps: int, first: int, length: int, seen: int
) -> None:
    """The last case ends within its window."""
    window = ProfileWindow(tmp_path, first, length)
    trained(window, steps)
    names = [str(path.relative_to(tmp_path)) for path in window.paths]
    assert names == ["profile/trace-rank0.json.gz", "profile/operators.txt"]
    assert products(window) == seen
    assert "aten::mm" in window.paths[1].read_text()


def test_a_training_that_ends_before_leaves_nothing(tmp_path: Path) -> None:
    window = ProfileWindow(tmp_path, first_step=5)
    trained(window, 2)
    assert window.paths == ()
    assert list(tmp_path.iterdir()) == []


def test_each_process_has_files_of_its_own(tmp_path: Path) -> None:
    window = ProfileWindow(tmp_path, 2, 1, rank=3)
    trained(window, 4)
    names = {path.name for path in window.paths}
    assert names == {"trace-rank3.json.gz", "operators-rank3.txt"}
