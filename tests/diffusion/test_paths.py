"""How a chain walks: which tokens settle when, what the network is shown, what is kept."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import FREE, ChainSettings, ChainStep, Clean, LabelDiffusion, State
from addkit.samplers.blocks import sample
from addkit.samplers.ordered import LeftToRight, Maskgit
from addkit.samplers.renoise import Ddim, Gibbs, Kappa, Refine, Renoise
from addkit.sampling import Chain, GuidedModel, forced
from addkit.to_one.operators import ArgMax, Sample, Softmax

from .networks import condition_of, generator, network

TOKENS, CHAINS, IMAGES = 7, 3, 2
SAMPLERS: dict[str, Any] = {
    "renoise": Renoise(),
    "ancestral": Kappa(1.0),
    "ddim": Ddim(0.0),
    "gibbs": Gibbs(),
    "refine": Refine(),
    "maskgit": Maskgit(),
    "annealed": Maskgit("random", "annealed"),
    "left-to-right": LeftToRight(),
}


def _model(**more: Any) -> LabelDiffusion:
    return network(num_tokens=TOKENS, **more).requires_grad_(False)


def _chain(
    sampler: Any, steps: int, model: LabelDiffusion | None = None, to_one: Any = None, **settings
) -> list[ChainStep]:
    model = model or _model()
    settings = {"chains": CHAINS, **settings}
    asked = ChainSettings(steps=steps, **settings)
    walk = sample(model, condition_of(IMAGES), sampler, to_one or ArgMax(), asked, generator(5))
    return list(walk)


class Seen:
    """Keeps what the network was shown: times (B, R, N) of every step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: list[Tensor] = []
        self.states: list[State] = []
        call = GuidedModel.__call__

        def watched(guided, state, t, layout=None, previous_features=None):
            shape = torch.broadcast_shapes(t.shape, (1, 1, TOKENS))
            self.times.append(t.expand(shape))
            self.states.append(state)
            return call(guided, state, t, layout, previous_features)

        monkeypatch.setattr(GuidedModel, "__call__", watched)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


@pytest.mark.parametrize("order", [Maskgit(), LeftToRight(), Maskgit("random")])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_each_step_settles_its_share_and_settles_for_good(
    seen: Seen, order: Any, steps: int
) -> None:
    told = _chain(order, steps, to_one=Sample(1.0, 1.0))
    assert len(told) == steps == len(seen.times)
    for index, t in enumerate(seen.times):
        assert ((t == 0) | (t == 1)).all()
        assert (t == 0).sum(-1).eq(math.ceil(TOKENS * index / steps - 1e-6)).all()
    for (before, after), (one, two) in zip(pairwise(seen.times), pairwise(told), strict=True):
        assert (after <= before).all()
        settled = after.expand(IMAGES, CHAINS, TOKENS) == 0
        assert torch.equal(two.clean.ids[settled], one.clean.ids[settled])
        assert torch.equal(two.logits[settled], one.logits[settled])
    assert not torch.equal(told[-1].logits, told[0].logits) or steps == 1


@pytest.mark.parametrize("steps", [8, 20])
def test_more_steps_than_tokens_are_no_more(seen: Seen, steps: int) -> None:
    assert len(_chain(Maskgit(), steps)) == TOKENS
    assert len(_chain(LeftToRight("annealed"), steps)) == TOKENS
    assert len(_chain(Renoise(), steps)) == steps


def test_tokens_settle_in_their_order(seen: Seen) -> None:
    _chain(LeftToRight(), TOKENS)
    for index, t in enumerate(seen.times):
        assert torch.equal(t[0, 0] == 0, torch.arange(TOKENS) < index)
    seen.times.clear()
    told = _chain(Maskgit(), TOKENS)
    for index, (step, after) in enumerate(zip(told, seen.times[1:], strict=False)):
        sure = step.logits.log_softmax(-1).amax(-1)
        before = seen.times[index].expand(IMAGES, CHAINS, TOKENS) == 0
        first = sure.masked_fill(before, -torch.inf).argmax(-1, keepdim=True)
        assert torch.equal(before.scatter(-1, first, True), after == 0)


def test_a_random_order_is_the_generators(seen: Seen) -> None:
    _chain(Maskgit("random"), TOKENS)
    first = seen.times[1][:, :, :].clone()
    assert len(first.flatten(0, 1).unique(dim=0)) > 1
    draws = [
        Maskgit("random").rank(torch.zeros(1, 1, 9, 2), torch.zeros(1, 1, 9), generator(s))
        for s in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0].argsort(), draws[2].argsort())


def test_tokens_that_wait_stay_at_pure_noise_or_follow_the_grid(seen: Seen) -> None:
    _chain(LeftToRight("annealed"), 4)
    for index, t in enumerate(seen.times):
        waiting = t[t > 0]
        torch.testing.assert_close(waiting, torch.full_like(waiting, 1 - index / 4))


@pytest.mark.parametrize("sampler", ["maskgit", "left-to-right"])
@pytest.mark.parametrize("steps", [2, 4])
def test_given_tokens_are_no_part_of_the_shares(seen: Seen, sampler: str, steps: int) -> None:
    held = torch.full((1, 1, TOKENS), FREE)
    held[..., [1, 4, 5]] = 2
    _chain(SAMPLERS[sampler], steps, given_labels=held)
    for index, t in enumerate(seen.times):
        assert (t[..., [1, 4, 5]] == 0).all()
        assert (t == 0).sum(-1).eq(3 + math.ceil(4 * index / steps)).all()


@pytest.mark.parametrize("to_one", [ArgMax(), Sample(1.0, 1.0), Softmax(1.0)])
@pytest.mark.parametrize("skip", [False, True], ids=["plain", "skip"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_given_tokens_stand_clean_in_every_state(
    seen: Seen, name: str, skip: bool, to_one: Any
) -> None:
    """Other chains may be given other tokens."""
    held = torch.randint(-1, 5, (IMAGES, CHAINS, TOKENS), generator=generator(1))
    model = _model(bayes_skip=skip, scale=1.7)
    told = _chain(SAMPLERS[name], 3, model, to_one, given_labels=held, guidance=1.5)
    where = held != FREE
    clean = model.corrupt(Clean(held.clamp_min(0)), torch.ones(1, 1, 1), generator()).h[where]
    for step, t, state in zip(told, seen.times, seen.states, strict=True):
        assert torch.equal(step.clean.ids[where], held[where])
        p = step.logits.softmax(-1)[where].gather(-1, held[where].unsqueeze(-1))
        assert torch.equal(p, torch.ones_like(p))
        assert (t[where] == 0).all()
        torch.testing.assert_close(state.h[where], clean)
        if state.y_t is not None:
            hot = 1.7 * torch.nn.functional.one_hot(held[where], 5)
            torch.testing.assert_close(state.y_t[where], hot)
        if step.clean.soft is not None:
            assert step.clean.soft[where].amax(-1).eq(1).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_fixed_generator_gives_the_same_chain(name: str) -> None:
    one, two = (_chain(SAMPLERS[name], 3, to_one=Sample(1.0, 1.0)) for _ in range(2))
    for first, second in zip(one, two, strict=True):
        assert torch.equal(first.logits, second.logits)


def test_refining_draws_nothing_and_its_chains_are_all_the_same() -> None:
    told = _chain(Refine(), 4, keep_y_t=True)
    for step in told:
        assert torch.equal(step.clean.ids, step.clean.ids[:, :1].expand_as(step.clean.ids))
    assert (told[0].y_t == 0).all()
    for before, after in pairwise(told):
        level = _model().schedule.alpha_bar(torch.tensor(after.t))
        hot = torch.nn.functional.one_hot(before.clean.ids, 5)
        torch.testing.assert_close(after.y_t, level.sqrt() * hot)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_chain_that_is_asked_to_holds_every_state(name: str) -> None:
    for step in _chain(SAMPLERS[name], 3, keep_y_t=True):
        assert step.y_t is not None
        assert step.y_t.shape == (IMAGES, CHAINS, TOKENS, 5)


@pytest.mark.parametrize("name", ["maskgit", "left-to-right", "annealed", "ddim"])
def test_what_is_held_is_what_the_network_reads(seen: Seen, name: str) -> None:
    model = _model(scale=2.0)
    told = _chain(SAMPLERS[name], 4, model, keep_y_t=True)
    for step, t, state in zip(told, seen.times, seen.states, strict=True):
        level = model.schedule.alpha_bar(t)
        level = torch.where(t == 0, 1.0, torch.where(t == 1, 0.0, level))
        torch.testing.assert_close(state.h, model.embedding.read(step.y_t, level))


def test_a_shuffled_state_comes_with_its_own_times(seen: Seen) -> None:
    told = _chain(Maskgit(), 4, shuffled=True, keep_y_t=True)
    for step, t in zip(told, seen.times, strict=True):
        clean = (step.y_t.amax(-1) == 1) & (step.y_t.sum(-1) == 1)
        assert torch.equal(clean, t.expand_as(clean) == 0)


def test_a_bias_is_added_to_every_answer() -> None:
    bias = torch.zeros(TOKENS, 5)
    bias[2, 3] = 1e4
    for name, sampler in SAMPLERS.items():
        for step in _chain(sampler, 2, bias=bias):
            assert (step.clean.ids[..., 2] == 3).all(), name
    plain, moved = (_chain(Renoise(), 1, bias=b)[0].logits for b in (None, torch.arange(5.0)[None]))
    torch.testing.assert_close(moved, plain + torch.arange(5.0))


def test_a_bias_does_not_move_what_is_given() -> None:
    held = torch.full((1, 1, TOKENS), FREE)
    held[..., 2] = 1
    bias = torch.zeros(TOKENS, 5)
    bias[2, 3] = 1e5
    (step,) = _chain(Renoise(), 1, bias=bias, given_labels=held)
    assert (step.clean.ids[..., 2] == 1).all()
    assert (step.logits.softmax(-1)[..., 2, 1] == 1).all()


def test_the_soft_label_of_a_settled_token_is_certain(seen: Seen) -> None:
    told = _chain(Maskgit(), 4, to_one=Softmax(1.0))
    for step, t in zip(told, seen.times, strict=True):
        soft = step.clean.soft
        where = t.expand(step.clean.ids.shape) == 0
        hot = torch.nn.functional.one_hot(step.clean.ids[where], 5).float()
        assert torch.equal(soft[where], hot)
        assert (soft[~where].amax(-1) < 1).all()


def test_a_chain_sees_nothing_beyond_its_length() -> None:
    """Other tokens beyond it, another answer for none before it."""
    lengths = torch.tensor([[3, 7, 1], [2, 3, 5]])
    beyond = torch.arange(TOKENS) >= lengths.unsqueeze(-1)
    for sampler in (Renoise(), LeftToRight()):
        told = []
        for filling in (0, 4):
            held = torch.where(beyond, filling, FREE)
            told.append(_chain(sampler, 3, given_labels=held, lengths=lengths, guidance=2.0)[-1])
        one, two = (step.logits[~beyond] for step in told)
        torch.testing.assert_close(one, two)
        unlimited = _chain(sampler, 3, given_labels=torch.where(beyond, 4, FREE), guidance=2.0)[-1]
        assert (unlimited.logits[~beyond] - two).abs().max() > 1e-3


def test_a_chain_sees_every_token_of_its_length() -> None:
    lengths = torch.tensor([[3, 7, 2], [2, 3, 5]])
    last = torch.arange(TOKENS) == lengths.unsqueeze(-1) - 1
    one, two = (
        _chain(Renoise(), 1, given_labels=torch.where(last, label, FREE), lengths=lengths)[0]
        for label in (0, 4)
    )
    assert ((one.logits - two.logits)[:, :, 0].abs().amax(-1) > 1e-3).all()


def test_a_sampler_that_asks_the_network_gets_the_loops_logits() -> None:
    model, lengths = _model(), torch.tensor([[3, 7, 2], [2, 3, 5]])
    settings = ChainSettings(
        steps=2, chains=CHAINS, lengths=lengths, guidance=1.5, bias=torch.linspace(-1, 1, 5)[None]
    )
    walk = (model, condition_of(IMAGES), ArgMax(), settings)
    chain = Chain.of(*walk, generator(5))
    first = next(iter(Renoise().sample(Chain.of(*walk, generator(5)))))
    torch.testing.assert_close(chain.predict(Renoise().start(chain)), first.logits)


def test_an_image_that_leaves_keeps_its_answer_and_disturbs_no_other() -> None:
    """Early exit with lengths, guidance, given tokens and memory, against a chain without it."""
    lengths = torch.tensor([[3, 7, 4], [2, 3, 5]])
    held = torch.where(torch.arange(TOKENS) >= lengths.unsqueeze(-1), 0, FREE)
    wishes = {"given_labels": held, "lengths": lengths, "guidance": 1.5}
    model = _model(self_condition=0.5, spread=0.3)
    whole = _chain(Refine(), 12, model, **wishes)
    early = _chain(Refine(), 12, model, early_exit=2, **wishes)
    assert any(0 < int(step.exited.sum()) < IMAGES for step in early)
    kept = whole[0].logits
    for full, step in zip(whole, early, strict=False):
        kept = torch.where(step.exited[:, None, None, None], kept, full.logits)
        torch.testing.assert_close(step.logits, kept)


def test_forcing_is_certain_where_given_and_nothing_elsewhere() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=generator())
    held = torch.tensor([2, FREE, 0, FREE])
    out = forced(logits, held)
    assert torch.equal(out[..., [1, 3], :], logits[..., [1, 3], :])
    hot = torch.nn.functional.one_hot(held[[0, 2]], 5).float()
    assert torch.equal(out[..., [0, 2], :].softmax(-1), hot.expand(2, 3, 2, 5))
    assert forced(logits, None) is logits


def test_a_network_that_remembers_reads_its_last_features() -> None:
    model = _model(self_condition=0.5)
    told = _chain(Refine(), 3, model)
    forgetful = _model()
    forgetful.load_state_dict(model.state_dict(), strict=False)
    other = _chain(Refine(), 3, forgetful)
    torch.testing.assert_close(told[0].logits, other[0].logits)
    assert (told[1].logits - other[1].logits).abs().max() > 1e-3
