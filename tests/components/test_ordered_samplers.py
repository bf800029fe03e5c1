from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from addkit.diffusion import ChainSettings, Clean, NoisyLabels, State
from addkit.plugin import load_registry
from addkit.plugin.spec import Choice
from addkit.samplers.autoregressive import Beam
from addkit.samplers.ordered import LeftToRight, Maskgit


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def logits() -> torch.Tensor:
    return 3 * torch.randn(2, 3, 4, 5, generator=_generator(1))


def test_maskgit_puts_the_surest_label_first(logits) -> None:
    """By log p of the label that a token has, which need not be its most probable one."""
    labels = torch.randint(5, (2, 3, 4), generator=_generator(2))
    rank = Maskgit().rank(logits, labels, _generator())
    wanted = logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(rank, wanted)
    assert not torch.equal(rank.argsort(), logits.amax(-1).argsort())


def test_left_to_right_puts_the_first_token_first(logits) -> None:
    rank = LeftToRight().rank(logits, logits.argmax(-1), _generator())
    assert torch.equal(rank.argsort(-1, descending=True), torch.arange(4).expand(2, 3, 4))


def test_a_random_order_is_uniform_and_the_generators(logits) -> None:
    sampler = Maskgit(order="random")
    labels = logits.argmax(-1)
    one, again, other = (sampler.rank(logits, labels, _generator(s)) for s in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    many = torch.zeros(1, 24000, 4, 1)
    places = sampler.rank(many, many[..., 0].long(), _generator())[0].argsort(-1)
    orders = (places * torch.tensor([64, 16, 4, 1])).sum(-1)
    counts = torch.unique(orders, return_counts=True)[1]
    assert len(counts) == 24
    assert (counts - 1000).abs().max() < 4.5 * 1000**0.5


def test_settings_reach_the_samplers(build) -> None:
    for name in ("maskgit", "left-to-right"):
        assert build("sampler", name).others == "noise"
        assert build("sampler", name, others="annealed").others == "annealed"
    beam = build("sampler", "beam", width=3, length_power=0.5)
    assert isinstance(beam, Beam)
    assert (beam.width, beam.length_power) == (3, 0.5)


def test_orders_take_at_most_a_step_a_token_and_others_what_is_asked(build) -> None:
    assert build("sampler", "maskgit").steps(20, 4) == 4
    assert build("sampler", "left-to-right").steps(3, 4) == 3
    assert build("sampler", "refine").steps(20, 4) == 20


@pytest.mark.parametrize("name", ["maskgit", "left-to-right"])
@pytest.mark.parametrize(
    ("process", "others", "objections"),
    [
        ("masked", "annealed", 1),
        ("autoregressive", "annealed", 1),
        ("masked", "noise", 0),
        ("gaussian", "annealed", 0),
        ("blocks", "annealed", 0),
    ],
)
def test_annealing_needs_noise_levels(name: str, process: str, others, objections: int) -> None:
    registry = load_registry()
    spec = registry.get("sampler", name).spec
    other = registry.get("process", process).spec
    choices = {"process": Choice(other, other.settings())}
    reasons = list(spec.check(spec.settings(others=others), choices))
    assert len(reasons) == objections
    assert all("noise-levels" in reason for reason in reasons)


@pytest.mark.parametrize("others", ["noise", "annealed"])
def test_settled_tokens_have_no_noise_and_waiting_ones_no_signal(logits, others) -> None:
    """Whatever the schedule leaves at t = 0 and t = 1."""
    levels: list[torch.Tensor] = []
    chain = SimpleNamespace(
        settings=ChainSettings(steps=4),
        shape=(2, 3, 4),
        generator=_generator(),
        model=SimpleNamespace(schedule=SimpleNamespace(alpha_bar=lambda t: 0.9 - 0.8 * t)),
        noise=lambda clean, alpha_bar: levels.append(alpha_bar) or State(clean.ids.unsqueeze(-1)),
    )
    now = NoisyLabels(State(logits), torch.ones(1, 1, 1))
    s = torch.full((1, 1, 1), 0.5)
    LeftToRight(others).step(chain, now, logits, Clean(logits.argmax(-1)), s, 0.5)
    waiting = 0.0 if others == "noise" else 0.5
    torch.testing.assert_close(levels[0], torch.tensor([1, 1, waiting, waiting]).expand(2, 3, 4))
