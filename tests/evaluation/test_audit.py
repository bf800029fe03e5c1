from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from addkit.evaluation.audit import audit_settings, conclude
from addkit.model import load


def _right(count: int, images: int = 1000) -> torch.Tensor:
    """The first `count` images are right."""
    return torch.arange(images) < count


def _cases(first: int, last: int, shuffled: int, blind: int = 100) -> dict[str, torch.Tensor]:
    names = ("first_step", "last_step", "shuffled_state", "no_image")
    return dict(zip(names, map(_right, (first, last, shuffled, blind)), strict=True))


def test_a_loop_that_uses_its_state_and_profits() -> None:
    audit = conclude(_cases(800, 900, 500), 85.0, 20)
    assert (audit.first_step, audit.last_step) == (pytest.approx(80), pytest.approx(90))
    assert (audit.shuffled_state, audit.no_image) == (pytest.approx(50), pytest.approx(10))
    assert (audit.control, audit.steps) == (85.0, 20)
    assert (audit.uses_state, audit.helps) == (True, True)
    assert audit.uses_state_points == pytest.approx(40)
    assert audit.helps_points == pytest.approx(10)
    # 100 of 1,000 pairs differ by 100 points.
    half = 1.96 * 100 * math.sqrt(0.1 * 0.9 / 999)
    assert audit.helps_interval == pytest.approx(half)
    assert all(part in audit.answer for part in ("40.0 +- 3.0", "helps", "+10.0 +- 1.9"))


def test_few_images_have_no_verdict() -> None:
    few = {name: right[:18] for name, right in _cases(0, 18, 0).items()}
    few["first_step"] = torch.zeros(18, dtype=torch.bool)
    assert conclude(few, None, 5).helps is None


def test_a_loop_that_costs() -> None:
    audit = conclude(_cases(900, 850, 850), None, 5)
    assert (audit.uses_state, audit.helps, audit.control) == (False, False, None)
    assert "does not use its own state" in audit.answer
    assert "costs accuracy" in audit.answer
    assert "-5.0" in audit.answer


def test_a_difference_within_its_interval_is_none() -> None:
    correct = _cases(900, 900, 100)
    # As many images won as lost.
    correct["last_step"] = correct["first_step"].roll(5)
    audit = conclude(correct, None, 5)
    assert audit.helps is None
    assert audit.helps_points == pytest.approx(0)
    assert audit.helps_interval > 0
    assert "no detectable difference" in audit.answer


def test_the_interval_is_paired_by_image() -> None:
    paired = conclude(_cases(500, 510, 0), None, 5)
    apart = conclude({**_cases(500, 510, 0), "last_step": ~_right(490)}, None, 5)
    assert paired.helps_points == pytest.approx(apart.helps_points)
    assert paired.helps_interval < 1 < apart.helps_interval
    assert (paired.helps, apart.helps) == (True, None)


def test_what_is_audited(digits_run: Path) -> None:
    # Whatever the recipe answers with: a chain that exits early has no last step.
    inference = load(digits_run).inference.replace(early_exit=2, steps=1)
    cases = audit_settings(inference)
    assert list(cases) == ["first_step", "last_step", "shuffled_state", "no_image"]
    loops = {name: case.inference for name, case in cases.items()}
    assert {loop.read_out.name for loop in loops.values()} == {"last"}
    assert {loop.early_exit for loop in loops.values()} == {0}
    assert [loop.steps for loop in loops.values()] == [1, 20, 20, 20]
    assert [loop.shuffled for loop in loops.values()] == [False, False, True, False]
    assert [case.no_image for case in cases.values()] == [False, False, False, True]


def test_a_state_whose_use_is_within_its_interval_is_not_used() -> None:
    correct = _cases(900, 900, 900)
    # Three images more are lost by shuffling than are won.
    correct["shuffled_state"] = _right(910) & ~_right(13)
    audit = conclude(correct, None, 5)
    assert 0 < audit.uses_state_points < audit.uses_state_interval
    assert not audit.uses_state


def test_one_image_decides_nothing() -> None:
    audit = conclude({name: right[:1] for name, right in _cases(0, 1, 0).items()}, None, 5)
    assert (audit.uses_state, audit.helps) == (False, None)
    assert audit.uses_state_interval == audit.helps_interval == math.inf
