from __future__ import annotations

import pytest
import torch

from addkit.plugin.spec import Choice
from addkit.samplers.ordered import Beam, Ordered


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def logits() -> torch.Tensor:
    return 3 * torch.randn(2, 3, 4, 5, generator=_generator(1))


def test_commit_puts_the_surest_label_first(build, logits) -> None:
    """By log p of the label that a token has, which need not be its most probable one."""
    labels = torch.randint(5, (2, 3, 4), generator=_generator(2))
    rank = build("sampler", "maskgit").order(logits, labels, _generator())
    wanted = logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(rank, wanted)
    assert not torch.equal(rank.argsort(), logits.amax(-1).argsort())


def test_left_to_right_puts_the_first_token_first(build, logits) -> None:
    rank = build("sampler", "left-to-right").order(logits, logits.argmax(-1), _generator())
    assert torch.equal(rank.argsort(-1, descending=True), torch.arange(4).expand(2, 3, 4))


def test_a_random_order_is_uniform_and_the_generators(build, logits) -> None:
    sampler = build("sampler", "maskgit", order="random")
    labels = logits.argmax(-1)
    one, again, other = (sampler.order(logits, labels, _generator(s)) for s in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    many = torch.zeros(1, 24000, 4, 1)
    places = sampler.order(many, many[..., 0].long(), _generator())[0].argsort(-1)
    orders = (places * torch.tensor([64, 16, 4, 1])).sum(-1)
    counts = torch.unique(orders, return_counts=True)[1]
    assert len(counts) == 24
    assert (counts - 1000).abs().max() < 4.5 * 1000**0.5


def test_what_orders_have_in_common(build) -> None:
    for name in ("maskgit", "left-to-right"):
        sampler = build("sampler", name)
        assert isinstance(sampler, Ordered)
        assert not sampler.anneals
        assert build("sampler", name, others="annealed").anneals
        assert (sampler.start, sampler.carries_state, sampler.draws) == ("noise", False, False)
    beam = build("sampler", "beam", width=3, length_power=0.5)
    assert isinstance(beam, Beam)
    assert (beam.width, beam.length_power) == (3, 0.5)


def test_refine_starts_from_zero_without_noise(build) -> None:
    refine = build("sampler", "refine")
    assert (refine.start, refine.noiseless, refine.order) == ("zero", True, None)
    assert (refine.carry(torch.rand(3), torch.rand(3)) == 0).all()


@pytest.mark.parametrize("name", ["maskgit", "left-to-right"])
def test_masks_have_no_levels_between(name: str) -> None:
    from addkit.plugin import load_registry

    registry = load_registry()
    spec = registry.get("sampler", name).spec
    for process, others, objections in (
        ("masked", "annealed", 1),
        ("masked", "noise", 0),
        ("gaussian", "annealed", 0),
    ):
        other = registry.get("process", process).spec
        choices = {"process": Choice(other, other.config())}
        told = list(spec.check(spec.settings(others=others), choices))
        assert len(told) == objections
        assert all('others = "noise"' in reason for reason in told)
