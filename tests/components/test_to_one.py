from __future__ import annotations

import pytest
import torch
from torch import Tensor

KNOWN = torch.tensor([0.4, 0.3, 0.2, 0.07, 0.03])
ROWS = 40000


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _shares(operator, probabilities: Tensor = KNOWN) -> Tensor:
    """How often each class is drawn from this distribution."""
    logits = probabilities.log().expand(2, ROWS // 2, 1, -1) + 5
    ids = operator(logits, _generator()).ids
    assert ids.shape == (2, ROWS // 2, 1)
    return torch.bincount(ids.flatten(), minlength=len(probabilities)) / ROWS


def _agree(shares: Tensor, expected: Tensor) -> None:
    error = (expected * (1 - expected) / ROWS).sqrt()
    assert ((shares - expected).abs() <= 4 * error).all(), (shares, expected)


def test_argmax_is_the_most_probable_label_and_draws_nothing(build) -> None:
    logits, generator = torch.randn(3, 2, 4, 6, generator=_generator(1)), _generator(2)
    before = generator.get_state()
    clean = build("to_one", "argmax")(logits, generator)
    assert torch.equal(clean.ids, logits.argmax(-1))
    assert clean.soft is None
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(clean.dense(6), torch.eye(6)[clean.ids])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_softmax_feeds_the_distribution_back(build, temperature: float) -> None:
    logits, generator = torch.randn(3, 2, 4, 6, generator=_generator(1)), _generator(2)
    before = generator.get_state()
    clean = build("to_one", "softmax", temperature=temperature)(logits, generator)
    assert torch.equal(clean.ids, logits.argmax(-1))
    expected = (logits / temperature).exp()
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(clean.dense(6), expected)
    torch.testing.assert_close(clean.dense(6).sum(-1), torch.ones(3, 2, 4))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_samples_have_the_frequencies_of_the_softmax(build, temperature: float) -> None:
    expected = KNOWN ** (1 / temperature)
    shares = _shares(build("to_one", "sample", temperature=temperature))
    _agree(shares, expected / expected.sum())


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.05, 1), (0.39, 1), (0.41, 2), (0.75, 3), (0.95, 4), (0.98, 5), (1.0, 5)]
)
def test_the_nucleus_is_the_fewest_classes_that_hold_the_share(build, top_p, kept) -> None:
    shuffled = torch.tensor([3, 0, 4, 1, 2])
    shares = _shares(build("to_one", "sample", top_p=top_p), KNOWN[shuffled])
    expected = torch.where(shuffled < kept, KNOWN[shuffled], 0.0)
    _agree(shares, expected / expected.sum())


def test_temperature_comes_before_the_nucleus(build) -> None:
    """At temperature 1/4 the first class holds .74, the first two .98."""
    shares = _shares(build("to_one", "sample", temperature=0.25, top_p=0.9))
    expected = KNOWN[:2] ** 4 / (KNOWN[:2] ** 4).sum()
    _agree(shares, torch.cat([expected, torch.zeros(3)]))


def test_samples_are_decided_by_the_generator(build) -> None:
    sample, logits = build("to_one", "sample"), torch.zeros(5, 10, 2, 6)
    ids = [sample(logits, _generator(seed)).ids for seed in (1, 1, 2)]
    assert torch.equal(ids[0], ids[1])
    assert not torch.equal(ids[0], ids[2])
