from __future__ import annotations

import pytest

from addkit.data.source import held_out_count, hold_out, split_sizes


@pytest.mark.parametrize(
    ("images", "share", "held"),
    [
        (10, 0.2, 2),
        (3, 0.1, 1),
        (2, 0.9, 1),
        (1, 0.5, 0),
        (0, 0.5, 0),
        (10, 0.0, 0),
        (182, 0.3, 55),
    ],
)
def test_how_many_are_held_out(images: int, share: float, held: int) -> None:
    assert held_out_count(images, share) == held


def _names(count: int) -> list[str]:
    return [f"image{number}" for number in range(count)]


def test_names_that_are_no_utf_8_are_held_out_too() -> None:
    names = [f"caf\udce9{number}.png" for number in range(5)]
    kept, held = hold_out([0] * 5, names, 0.2, 0, "test")
    assert (len(kept), len(held)) == (4, 1)


def test_disjoint_whole_stratified_and_stable() -> None:
    labels = [number % 3 for number in range(90)]
    kept, held = hold_out(labels, _names(90), 0.2, 0, "test")
    assert sorted(kept + held) == list(range(90))
    assert [sum(labels[i] == label for i in held) for label in range(3)] == [6, 6, 6]
    assert hold_out(labels, _names(90), 0.2, 0, "test") == (kept, held)
    assert hold_out(labels, _names(90), 0.2, 1, "test")[1] != held
    assert hold_out(labels, _names(90), 0.2, 0, "validation")[1] != held


def test_a_new_file_moves_at_most_one_other() -> None:
    names = _names(50)
    held = {names[i] for i in hold_out([0] * 50, names, 0.3, 0, "test")[1]}
    more = ["new", *names]
    after = {more[i] for i in hold_out([0] * 51, more, 0.3, 0, "test")[1]}
    assert len(held - after) + len(after - held - {"new"}) <= 1


def test_sizes() -> None:
    assert split_sizes([10, 20], 0.0, [2, 4]) == {"train": 24, "test": 6}
    assert split_sizes([10, 20], 0.25, [2, 4]) == {"train": 18, "test": 6, "validation": 6}
