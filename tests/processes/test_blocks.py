"""Blocks from left to right: training's two streams against sampling's kept keys and values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import (
    FREE,
    ChainSettings,
    ChainStep,
    Clean,
    LabelDiffusion,
    ObjectiveSettings,
    State,
    Targets,
    objective,
)
from addkit.errors import UsageError
from addkit.processes.blocks import BlocksProcess
from addkit.samplers.blocks import sample
from addkit.samplers.ordered import LeftToRight, Maskgit
from addkit.samplers.renoise import Ddim, Gibbs, Kappa, Refine, Renoise
from addkit.sampling import guide
from addkit.to_one.operators import ArgMax, Sample

from ..diffusion.networks import condition_of, corrupted, generator, network

IMAGES, N, K = 4, 6, 5
SAMPLERS: dict[str, Any] = {
    "renoise": Renoise(),
    "ancestral": Kappa(1.0),
    "ddim": Ddim(0.0),
    "gibbs": Gibbs(),
    "refine": Refine(),
    "maskgit": Maskgit(),
    "annealed": LeftToRight(others="annealed"),
}


def _model(block: int, **more: Any) -> LabelDiffusion:
    more = {"num_classes": K, "num_tokens": N, "spread": 0.4, **more}
    return network(BlocksProcess(block), **more).requires_grad_(False)


def _run(
    model: LabelDiffusion, sampler: Any, steps: int, to_one: Any = None, **asked
) -> list[ChainStep]:
    settings = ChainSettings(steps=steps, **asked)
    condition = condition_of(IMAGES)
    return list(sample(model, condition, sampler, to_one or ArgMax(), settings, generator(5)))


def _pure(model: LabelDiffusion, labels: Tensor, condition: Tensor) -> Tensor:
    """Logits (B, R, N, K) of training's two streams, every noisy token at t = T."""
    one = torch.ones(1, 1, 1)
    settings = ObjectiveSettings(pure_noise=1.0)
    noise = corrupted(model, Targets(labels), settings, generator())
    features = model.features(noise.state, noise.t, model.prepare(condition), noise.layout)
    return model.logits(model.outputs(features), None, one - 1)


def _labels(reuse: int = 2) -> Tensor:
    return torch.randint(K, (IMAGES, reuse, N), generator=generator(1))


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_one_step_for_each_block_is_the_pass_of_training(block: int, guidance: float) -> None:
    """The kept keys and values of the answer so far are the clean stream's."""
    model = _model(block)
    (last,) = _run(model, Renoise(), 1, chains=2, guidance=guidance)
    logits = _pure(model, last.clean.ids, condition_of(IMAGES))
    if guidance != 1:
        null = model.null_condition(2).expand(IMAGES, -1, -1)
        logits = guide(logits, _pure(model, last.clean.ids, null), guidance)
    torch.testing.assert_close(last.logits, logits, atol=1e-4, rtol=1e-4)
    assert torch.equal(last.clean.ids, logits.argmax(-1))
    assert len(last.clean.ids.unique()) > 1


def test_blocks_of_one_have_the_likelihood_of_their_steps() -> None:
    """Drawn token by token, the product of the step's probabilities is p(labels | x)."""
    model = _model(1)
    (last,) = _run(model, Renoise(), 1, Sample(1.0, 1.0), chains=5)
    labels = last.clean.ids
    own = last.logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).sum((-2, -1))
    told = model.process.likelihood(model, model.prepare(condition_of(IMAGES)), labels)
    torch.testing.assert_close(told, own, atol=1e-4, rtol=1e-4)
    assert len(labels.flatten(0, 1).unique(dim=0)) > 5


def test_the_likelihood_of_longer_blocks_is_refused() -> None:
    model = _model(2)
    with pytest.raises(UsageError, match=r"longer than 1 token is not known.*consensus.*block = 1"):
        model.process.likelihood(model, model.prepare(condition_of(IMAGES)), _labels())


def test_one_block_of_everything_is_the_plain_process() -> None:
    """One step: one pass over all tokens. Several: the plain chain, of which the last is told."""
    model, plain = _model(N), network(num_classes=K, num_tokens=N, spread=0.4)
    for steps in (1, 3):
        for sampler in (Refine(), Maskgit()):
            (last,) = _run(model, sampler, steps)
            *_, other = _run(plain.requires_grad_(False), sampler, steps)
            torch.testing.assert_close(last.logits, other.logits, atol=1e-4, rtol=1e-4)
            assert torch.equal(last.clean.ids, other.clean.ids)
            assert last.index == other.index


def test_training_shows_clean_tokens_without_noise_and_noisy_ones_with_their_own() -> None:
    model = _model(2)
    settings = ObjectiveSettings(token_times=(0.4, 0.3, 0.3))
    hidden = corrupted(model, Targets(_labels()), settings, generator(2))
    assert hidden.state.h.shape[2] == 2 * N == hidden.t.shape[2]
    assert (hidden.t[..., :N] == 0).all()
    clean = model.embedding.weight[_labels()]
    torch.testing.assert_close(hidden.state.h[:, :, :N], clean)
    noisy = hidden.t[..., N:] > 0.2
    assert ((hidden.state.h[:, :, N:] - clean).norm(dim=-1)[noisy] > 1e-3).all()
    torch.testing.assert_close(hidden.alpha_bar, model.schedule.alpha_bar(hidden.t[..., N:]))
    assert torch.equal(hidden.weights, (hidden.t[..., N:] > 0).float())
    assert hidden.layout.first_answer == N
    assert torch.equal(hidden.layout.places, torch.arange(N).repeat(2))


def test_the_loss_is_that_of_the_noisy_tokens() -> None:
    """All at t = T: -log p of each label given the blocks before it."""
    model = _model(2)
    settings = ObjectiveSettings(condition_drop=0.0, pure_noise=1.0)
    targets = Targets(_labels())
    value = objective(model, condition_of(IMAGES), targets, settings, generator(3))
    log_p = _pure(model, _labels(), condition_of(IMAGES)).log_softmax(-1)
    wanted = -log_p.gather(-1, _labels().unsqueeze(-1)).mean()
    torch.testing.assert_close(value.loss, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rollout", [0.0, 1.0])
def test_pads_that_do_not_exist_are_seen_in_neither_stream(rollout: float) -> None:
    model, told = _model(4), []
    present = torch.arange(N) < torch.randint(1, N + 1, (IMAGES, 2, 1), generator=generator(4))
    for filling in (0, 3):
        labels = torch.where(present, _labels(), filling)
        targets = Targets(labels, present.float(), real=present, present=present)
        settings = ObjectiveSettings(condition_drop=0.0, rollout=rollout)
        told.append(objective(model, condition_of(IMAGES), targets, settings, generator(8)).loss)
    torch.testing.assert_close(told[0], told[1])


def test_a_network_that_remembers_trains_and_samples_in_blocks() -> None:
    """The memory is the noisy tokens'; the clean ones have none."""
    model = _model(2, self_condition=1.0)
    hidden = corrupted(model, Targets(_labels()), ObjectiveSettings(), generator(2))
    prepared = model.prepare(condition_of(IMAGES))
    first = model.features(hidden.state, hidden.t, prepared, hidden.layout)
    assert first.shape[2] == N
    again = model.features(hidden.state, hidden.t, prepared, hidden.layout, first)
    h = hidden.state.h.clone()
    h[:, :, N:] += model.self_conditioning(first)
    by_hand = model.features(State(h), hidden.t, prepared, hidden.layout)
    torch.testing.assert_close(again, by_hand)
    settings = ObjectiveSettings(condition_drop=0.0)
    objective(model, condition_of(IMAGES), Targets(_labels()), settings, generator())
    assert _run(model, Refine(), 3)[0].logits.isfinite().all()


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_given_tokens_stand_and_condition_later_blocks(name: str, guidance: float) -> None:
    model = _model(2)
    held = torch.randint(-1, K, (IMAGES, 3, N), generator=generator(4))
    (last,) = _run(model, SAMPLERS[name], 2, chains=3, given_labels=held, guidance=guidance)
    where = held != FREE
    assert torch.equal(last.clean.ids[where], held[where])
    p = last.logits.softmax(-1)[where].gather(-1, held[where].unsqueeze(-1))
    assert torch.equal(p, torch.ones_like(p))


def test_a_given_token_counts_for_the_others_of_its_block() -> None:
    """With one step, the free token's logits are a pass with the given one clean."""
    model = _model(2)
    held = torch.full((1, 1, N), FREE)
    held[..., 0] = 3
    (last,) = _run(model, Renoise(), 1, given_labels=held)
    levels = torch.tensor([1.0, 0.0])[None, None]
    state = model.corrupt(Clean(torch.full((IMAGES, 1, 2), 3)), levels, generator())
    features = model.features(state, 1 - levels, model.prepare(condition_of(IMAGES)))
    wanted = model.logits(model.outputs(features), None, levels, torch.arange(2))
    torch.testing.assert_close(last.logits[:, :, 1], wanted[:, :, 1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(N, K), (1, K), (IMAGES, 2, N, K), (IMAGES, 1, 1, K)])
def test_a_bias_is_added_to_its_tokens(shape: tuple[int, ...]) -> None:
    model = _model(4)
    bias = 3 * torch.randn(shape, generator=generator(6))
    (last,) = _run(model, Renoise(), 1, bias=bias, chains=2)
    wanted = _pure(model, last.clean.ids, condition_of(IMAGES)) + bias
    torch.testing.assert_close(last.logits, wanted, atol=1e-4, rtol=1e-4)


def test_a_token_takes_its_own_classes_alone() -> None:
    ranges = ((0, 2), (2, 3), (3, 5), (0, 5), (4, 5), (1, 3))
    (last,) = _run(_model(4, token_classes=ranges), SAMPLERS["gibbs"], 3, chains=10)
    for token, (start, stop) in enumerate(ranges):
        own = last.clean.ids[..., token]
        assert ((own >= start) & (own < stop)).all()


def test_nothing_beyond_a_chains_length_is_seen() -> None:
    model, told = _model(4), []
    lengths = torch.randint(1, N + 1, (IMAGES, 2), generator=generator(9))
    beyond = torch.arange(N) >= lengths.unsqueeze(-1)
    for filling in (0, 3):
        held = torch.where(beyond, filling, FREE)
        (last,) = _run(
            model, Refine(), 3, chains=2, given_labels=held, lengths=lengths, guidance=2.0
        )
        told.append(last.logits[~beyond])
    torch.testing.assert_close(told[0], told[1])
    prior = torch.rand(IMAGES, 2, generator=generator())
    (last,) = _run(model, Refine(), 3, chains=2, lengths=lengths, prior=prior)
    assert torch.equal(last.prior, prior)


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_counted_over_blocks(block: int, steps: int) -> None:
    """An order settles at least one token a step, so a short block takes fewer."""
    sizes = [min(block, N - start) for start in range(0, N, block)]
    (last,) = _run(_model(block), Renoise(), steps)
    assert last.index + 1 == steps * len(sizes)
    (last,) = _run(_model(block), Maskgit(), steps)
    assert last.index + 1 == sum(min(steps, size) for size in sizes)


def test_a_trace_shows_block_after_block() -> None:
    told = _run(_model(4), Refine(), 2, keep_y_t=True, chains=2)
    assert [step.index for step in told] == [1, 3]
    assert [step.t for step in told] == pytest.approx([2 / 6, 0])
    assert (told[0].clean.ids[..., 4:] == 0).all()
    assert torch.equal(told[0].clean.ids[..., :4], told[1].clean.ids[..., :4])


def test_a_fixed_generator_gives_the_same_answer() -> None:
    one, two = (
        _run(_model(2), SAMPLERS["renoise"], 3, Sample(1.0, 1.0), chains=2)[0] for _ in range(2)
    )
    assert torch.equal(one.logits, two.logits)


def test_blocks_take_all_their_steps() -> None:
    """Early exit counts images, and a block's rows are single chains."""
    (whole,) = _run(_model(2), Ddim(0.0), 8, chains=2)
    (early,) = _run(_model(2), Ddim(0.0), 8, chains=2, early_exit=1)
    assert torch.equal(early.logits, whole.logits)
    assert early.index == whole.index
