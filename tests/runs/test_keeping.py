from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from addkit.errors import AddkitWarning
from addkit.runs.checkpoint_files import Keep, checkpoint_of, pointed_at

Save = Callable[..., Path]


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("step-*"))


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), [6, 7]),
        (Keep(last=1), [7]),
        (Keep(last=3), [5, 6, 7]),
        (Keep(last=99), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Keep(last=1, every=3), [3, 6, 7]),
        (Keep(last=2, every=1), [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_what_stays(save: Save, keep: Keep, left: Iterable[int]) -> None:
    for step in range(8):
        path = save(step, keep=keep)
    assert _steps(path.parent) == left
    assert checkpoint_of(path.parent) == path


def test_the_best_stays_until_another_is_better(save: Save) -> None:
    keep = Keep(last=1)
    for step in range(4):
        path = save(step, is_best=step == 1, keep=keep)
    assert _steps(path.parent) == [1, 3]
    best = save(4, is_best=True, keep=keep)
    assert pointed_at(path.parent, "best") == best
    save(5, keep=keep)
    assert _steps(path.parent) == [4, 5]


def test_later_ones_stay_and_take_no_place(save: Save) -> None:
    for step in (8, 9, 2, 3, 4):
        path = save(step, keep=Keep(last=2) if step < 8 else None)
    assert _steps(path.parent) == [3, 4, 8, 9]


def test_a_broken_one_takes_no_place(save: Save) -> None:
    save(1)
    broken = save(2) / "raw.safetensors"
    broken.write_bytes(broken.read_bytes()[:9])
    path = save(3, keep=Keep(last=2))
    assert _steps(path.parent) == [1, 3]


def test_one_with_a_file_of_the_user_s_stays(save: Save) -> None:
    first = save(1)
    (first / "notes.txt").write_text("mine")
    with pytest.warns(AddkitWarning, match=r"step-00000001: .*notes\.txt"):
        path = save(2, keep=Keep(last=1))
    assert (first / "notes.txt").read_text() == "mine"
    assert _steps(path.parent) == [1, 2]


def test_other_files_are_left_alone(save: Save) -> None:
    folder = save(1).parent
    for name in ("step-1-mine", "notes"):
        (folder / name).mkdir()
    save(2, keep=Keep(last=1))
    assert sorted(path.name for path in folder.iterdir()) == [
        *("latest", "notes", "step-00000002", "step-1-mine")
    ]
