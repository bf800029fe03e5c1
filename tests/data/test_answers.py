"""Which of several right answers each copy of an image gets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from addkit.data.captions import pick_answers
from addkit.plugin.values import Batch

N = 3


def _batch(counts: list[int], most: int = 7) -> Batch:
    """Answer c of image b is the row (b, c, c); beyond the count stand answers nobody may get."""
    images, answers = torch.meshgrid(torch.arange(len(counts)), torch.arange(most), indexing="ij")
    counted = torch.tensor(counts)
    shown = torch.where(answers < counted.unsqueeze(1), answers, -9)
    references = torch.stack([images, shown, shown], -1)
    labels = references[:, 0]
    return Batch(
        torch.zeros(len(counts), 1, 2, 2),
        labels,
        tuple(range(len(counts))),
        references=references,
        reference_counts=counted,
    )


def _picked(counts: list[int], reuse: int, seed: int = 0) -> Tensor:
    """Which answer each copy got, (B, R)."""
    labels = pick_answers(_batch(counts), reuse, torch.Generator().manual_seed(seed))
    assert labels.shape == (len(counts), reuse, N)
    assert torch.equal(labels[..., 0], torch.arange(len(counts)).unsqueeze(1).expand(-1, reuse))
    assert torch.equal(labels[..., 1], labels[..., 2])
    return labels[..., 1]


def test_one_answer_goes_to_every_copy() -> None:
    labels = torch.arange(12).view(4, 3)
    batch = Batch(torch.zeros(4, 1, 2, 2), labels, (0, 1, 2, 3))
    copies = pick_answers(batch, 5, torch.Generator())
    assert torch.equal(copies, labels.unsqueeze(1).expand(-1, 5, -1))
    assert (_picked([1] * 50, 4) == 0).all()


@pytest.mark.parametrize("reuse", [1, 2, 4, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_copies_are_spread_evenly_over_the_answers(count: int, reuse: int) -> None:
    """Each answer goes to R / C copies, to within one: all differ where they can."""
    picked = _picked([count] * 3000, reuse)
    shares = torch.nn.functional.one_hot(picked, 7).sum(1)[:, :count]
    assert shares.min() >= reuse // count
    assert shares.max() <= math.ceil(reuse / count)


@pytest.mark.parametrize("reuse", [1, 4])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_each_copy_has_every_answer_equally_often(count: int, reuse: int) -> None:
    images = 6000
    shares = torch.nn.functional.one_hot(_picked([count] * images, reuse), 7).double().mean(0)
    error = math.sqrt((1 - 1 / count) / count / images)
    assert (shares[:, :count] - 1 / count).abs().max() < 4.2 * error
    assert (shares[:, count:] == 0).all()


def test_each_image_has_its_own_count() -> None:
    counts = [1, 7, 3, 2] * 500
    picked = _picked(counts, 4)
    assert (picked >= 0).all()
    assert (picked < torch.tensor(counts).unsqueeze(1)).all()
    assert picked[1::4].max() == 6


def test_images_are_independent_and_the_generator_decides() -> None:
    first = _picked([5] * 4000, 1)[:, 0].double()
    assert abs(float(torch.stack([first[:-1], first[1:]]).corrcoef()[0, 1])) < 4 / 4000**0.5
    assert torch.equal(_picked([5] * 40, 4, 3), _picked([5] * 40, 4, 3))
    assert not torch.equal(_picked([5] * 40, 4, 3), _picked([5] * 40, 4, 4))
