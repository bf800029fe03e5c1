"""Beam search against the list of everything that can be written."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import FREE, ChainSettings, ChainStep, LabelDiffusion
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.read_outs.by_token import Last
from addkit.read_outs.whole import Likelihood
from addkit.samplers.autoregressive import Beam
from addkit.samplers.blocks import sample
from addkit.samplers.ordered import LeftToRight
from addkit.to_one.operators import ArgMax

from ..diffusion.networks import condition_of, generator, network

IMAGES, N, K = 5, 4, 4
EVERYTHING = torch.tensor(list(itertools.product(range(K), repeat=N)))


def _model(pad: int | None = None, **more: Any) -> LabelDiffusion:
    more = {"num_classes": K, "num_tokens": N, "spread": 0.5, **more}
    return network(AutoregressiveProcess(pad), embedding="token", **more).requires_grad_(False)


def _search(model: LabelDiffusion, sampler: Any, **asked) -> ChainStep:
    sampler.pad = model.process.pad
    (step,) = sample(
        model, condition_of(IMAGES), sampler, ArgMax(), ChainSettings(steps=1, **asked), generator()
    )
    return step


def _log_p(model: LabelDiffusion, labels: Tensor) -> Tensor:
    return model.process.likelihood(model, model.prepare(condition_of(len(labels))), labels)


def _listed(pad: int | None) -> Tensor:
    """Whatever can be written: after the first pad there are pads, (S, N)."""
    if pad is None:
        return EVERYTHING
    ends = EVERYTHING.eq(pad)
    return EVERYTHING[~((ends.cumsum(-1) > 0) & ~ends).any(-1)]


@pytest.mark.parametrize("pad", [None, 0, 2])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_one_beginning_is_greedy(pad: int | None, guidance: float) -> None:
    model = _model(pad)
    beam = _search(model, Beam(1, 0.0), guidance=guidance)
    greedy = _search(model, LeftToRight(pad=pad), guidance=guidance)
    assert torch.equal(beam.clean.ids, greedy.clean.ids)
    assert beam.clean.ids.shape == (IMAGES, 1, N)
    torch.testing.assert_close(beam.logits.softmax(-1), greedy.logits.softmax(-1))


@pytest.mark.parametrize("pad", [None, 0, 3])
def test_a_wide_beam_finds_the_most_probable_answers_in_order(pad: int | None) -> None:
    model, width = _model(pad), K ** (N - 1)
    rows = _listed(pad)
    log_p = _log_p(model, rows.expand(IMAGES, -1, -1))
    count = min(width, len(rows))
    best = log_p.topk(count)
    step = _search(model, Beam(width, 0.0))
    assert step.clean.ids.shape == (IMAGES, width, N)
    torch.testing.assert_close(step.scores[:, :count], best.values, atol=1e-4, rtol=1e-4)
    assert torch.equal(step.clean.ids[:, 0], rows[best.indices[:, 0]])
    for image in range(IMAGES):
        found = {tuple(row) for row in step.clean.ids[image, :count].tolist()}
        assert len(found) == count
    own = step.logits.log_softmax(-1).gather(-1, step.clean.ids.unsqueeze(-1)).sum((-2, -1))
    torch.testing.assert_close(own, step.scores, atol=1e-4, rtol=1e-4)


def test_a_beam_beats_greedy_where_the_first_step_misleads() -> None:
    """Over several networks: never worse, sometimes better."""
    gains = []
    for spread in (0.3, 0.35, 0.4, 0.45, 0.5):
        model = _model(spread=spread)
        narrow, wide = (_search(model, Beam(width, 0.0)) for width in (1, K ** (N - 1)))
        gains.append(wide.scores[:, 0] - narrow.scores[:, 0])
    assert torch.cat(gains).min() > -1e-5
    assert torch.cat(gains).max() > 0.01


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_the_length_power_ranks_finished_captions(power: float) -> None:
    pad = 0
    model, width = _model(pad), 40
    step = _search(model, Beam(width, power))
    lengths = (step.clean.ids != pad).sum(-1).clamp_min(1)
    wanted = _log_p(model, step.clean.ids) / lengths**power
    torch.testing.assert_close(step.scores, wanted, atol=1e-4, rtol=1e-4)
    assert (step.scores.diff(dim=1) <= 1e-6).all()
    # Each caption comes with its own logits.
    own = step.logits.log_softmax(-1).gather(-1, step.clean.ids.unsqueeze(-1)).sum((-2, -1))
    torch.testing.assert_close(own, _log_p(model, step.clean.ids), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("free", [0, 1, 2])
def test_a_wider_beam_than_there_are_answers_repeats_the_best(free: int) -> None:
    """Given tokens hold in every one of the answers."""
    held = torch.tensor([1, 3, 0, 2])
    held[4 - free :] = FREE
    step = _search(_model(), Beam(20, 0.0), given_labels=held[None, None])
    assert (step.clean.ids[..., : 4 - free] == held[: 4 - free]).all()
    for image in range(IMAGES):
        different = step.clean.ids[image].unique(dim=0)
        assert len(different) == K**free
        assert torch.equal(
            step.clean.ids[image, K**free :].unique(dim=0), step.clean.ids[image, :1]
        )
    assert step.scores.isfinite().all()


def test_given_tokens_condition_the_search() -> None:
    model = _model()
    held = torch.tensor([FREE, 2, FREE, FREE])
    rows = EVERYTHING[EVERYTHING[:, 1] == 2]
    # What is given is certain, so its factor is not counted.
    log_p = torch.zeros(IMAGES, len(rows))
    prepared = model.prepare(condition_of(IMAGES))
    for token in (0, 2, 3):
        present = torch.ones(IMAGES, len(rows), N, dtype=torch.bool)
        present[..., token] = False
        every = model.process.likelihood(model, prepared, rows.expand(IMAGES, -1, -1))
        log_p += every - model.process.likelihood(
            model, prepared, rows.expand(IMAGES, -1, -1), present
        )
    best = log_p.max(1)
    step = _search(model, Beam(K**3, 0.0), given_labels=held[None, None])
    torch.testing.assert_close(step.scores[:, 0], best.values, atol=1e-4, rtol=1e-4)
    assert torch.equal(step.clean.ids[:, 0], rows[best.indices])


def test_a_bias_and_ranges_bind_the_search() -> None:
    ranges = ((0, 2), (1, 3), (3, 4), (0, 4))
    bias = torch.zeros(N, K)
    bias[3, 1] = -1e4
    step = _search(_model(token_classes=ranges), Beam(8, 0.0), bias=bias)
    for token, (start, stop) in enumerate(ranges):
        own = step.clean.ids[..., token]
        assert ((own >= start) & (own < stop)).all()
    assert (step.clean.ids[..., 3] != 1).all()


def test_several_chains_of_a_beam_share_the_first_ones_length() -> None:
    held = torch.full((IMAGES, 2, N), FREE)
    held[:, 0, 3], held[:, 1, 1:] = 0, 0
    prior = torch.rand(IMAGES, 2, generator=generator())
    step = _search(_model(0), Beam(3, 0.0), chains=2, given_labels=held, prior=prior)
    assert (step.clean.ids[..., 3] == 0).all()
    assert (step.clean.ids[..., 1] != 0).any()
    assert torch.equal(step.prior, prior[:, :1].expand(-1, 3))


def test_the_answer_is_the_best_one_and_no_mixture() -> None:
    model = _model(0)
    step = _search(model, Beam(6, 0.0))
    told = Last().read([step])
    assert torch.equal(told.labels, step.clean.ids[:, 0])
    assert torch.equal(told.scores, step.scores)
    whole = Likelihood().read([step], lambda labels: _log_p(model, labels))
    torch.testing.assert_close(whole.scores[:, 0], step.scores[:, 0], atol=1e-4, rtol=1e-4)
    assert torch.equal(whole.labels, told.labels)
