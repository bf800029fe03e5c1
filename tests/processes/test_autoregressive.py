"""Writing token by token with kept keys and values, against whole causal passes."""

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
    Layout,
    ObjectiveSettings,
    State,
    Targets,
    objective,
)
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.samplers.blocks import sample
from addkit.samplers.ordered import LeftToRight
from addkit.sampling import guide
from addkit.to_one.operators import ArgMax, Sample

from ..diffusion.networks import condition_of, corrupted, generator, network

IMAGES, N, K = 4, 5, 6
EMBEDDINGS = ["token", "posterior"]


def _model(pad: int | None = None, embedding: str = "token", **more: Any) -> LabelDiffusion:
    more = {"num_classes": K, "num_tokens": N, "spread": 0.5, **more}
    return network(AutoregressiveProcess(pad), embedding=embedding, **more).requires_grad_(False)


def _write(model: LabelDiffusion, to_one: Any = None, seed: int = 5, **asked) -> list[ChainStep]:
    settings = ChainSettings(steps=1, **asked)
    condition = condition_of(IMAGES)
    sampler = LeftToRight(pad=model.process.pad)
    return list(sample(model, condition, sampler, to_one or ArgMax(), settings, generator(seed)))


def _pass(model: LabelDiffusion, labels: Tensor, condition: Tensor) -> Tensor:
    """Logits (B, R, N, K) of a whole causal pass over the labels before each token."""
    before = torch.cat([torch.zeros_like(labels[..., :1]), labels[..., :-1]], -1)
    level = (torch.arange(labels.shape[-1]) > 0).float().expand(labels.shape)
    state = model.corrupt(Clean(before), level, generator())
    zero = torch.zeros(1, 1, 1)
    visible = torch.ones(1, 1, labels.shape[-1], labels.shape[-1], dtype=torch.bool).tril()
    features = model.features(State(state.h), zero, model.prepare(condition), Layout(visible))
    return model.logits(model.outputs(features), None, zero)


def test_token_n_reads_the_label_before_it_and_the_first_reads_nothing() -> None:
    model = _model()
    labels = torch.randint(K, (IMAGES, 2, N), generator=generator(1))
    hidden = corrupted(model, Targets(labels), ObjectiveSettings(), generator())
    assert (hidden.state.h[:, :, 0] == model.embedding.mask).all()
    assert torch.equal(hidden.state.h[:, :, 1:], model.embedding.weight[labels[..., :-1]])
    assert torch.equal(hidden.layout.visible[0, 0], torch.ones(N, N).tril().bool())
    assert (hidden.t == 0).all()
    assert hidden.weights is None


def test_a_label_is_not_seen_by_itself_nor_by_those_before_it() -> None:
    """The loss of token n is log p(y_n | y_1, ..., y_{n-1}): by hand."""
    model = _model()
    labels = torch.randint(K, (IMAGES, 2, N), generator=generator(1))
    weights = torch.rand(IMAGES, 2, N, generator=generator(2))
    settings = ObjectiveSettings(condition_drop=0.0, pure_noise=0.5, token_times=(0, 1, 1))
    targets = Targets(labels, weights)
    value = objective(model, condition_of(IMAGES), targets, settings, generator(3))
    log_p = _pass(model, labels, condition_of(IMAGES)).log_softmax(-1)
    losses = -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(value.loss, (losses * weights).sum() / weights.sum())


def test_a_missing_label_is_not_read() -> None:
    model = _model()
    labels = torch.randint(K, (IMAGES, 1, N), generator=generator(1))
    known = torch.ones_like(labels, dtype=torch.bool)
    known[..., 2] = False
    targets = Targets(labels, known.float(), known=known)
    hidden = corrupted(model, targets, ObjectiveSettings(), generator())
    assert (hidden.state.h[:, :, 3] == model.embedding.mask).all()
    assert torch.equal(hidden.state.h[:, :, 4], model.embedding.weight[labels[..., 3]])
    assert (hidden.weights[..., 2] == 0).all()


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_greedy_writing_is_the_best_class_of_whole_passes(embedding: str, guidance: float) -> None:
    model = _model(embedding=embedding)
    (last,) = _write(model, guidance=guidance, chains=2)
    labels = last.clean.ids
    logits = _pass(model, labels, condition_of(IMAGES))
    if guidance != 1:
        null = model.null_condition(2).expand(IMAGES, -1, -1)
        logits = guide(logits, _pass(model, labels, null), guidance)
    torch.testing.assert_close(last.logits, logits, atol=1e-4, rtol=1e-4)
    assert torch.equal(labels, logits.argmax(-1))
    assert len(labels.unique()) > 1
    assert last.logits.shape == (IMAGES, 2, N, K)


def test_written_chains_follow_their_probabilities() -> None:
    """Shares of the first two tokens of many chains, within 4 sigma."""
    model, chains = _model(num_tokens=2), 3000
    (last,) = _write(model, Sample(1.0, 1.0), chains=chains)
    first = _pass(model, last.clean.ids, condition_of(IMAGES))[0, 0, 0].softmax(-1)
    pairs = torch.arange(K * K)
    rows = torch.stack([pairs // K, pairs % K], -1).expand(IMAGES, -1, -1)
    log_p = model.process.likelihood(model, model.prepare(condition_of(IMAGES)), rows)[0]
    index = last.clean.ids[0, :, 0] * K + last.clean.ids[0, :, 1]
    shares = torch.bincount(index, minlength=K * K) / chains
    error = (log_p.exp() * (1 - log_p.exp()) / chains).sqrt() + 1e-4
    assert ((shares - log_p.exp()).abs() / error).max() < 4
    torch.testing.assert_close(log_p.exp().view(K, K).sum(1), first)


def test_a_fixed_generator_writes_the_same() -> None:
    model = _model()
    one, again, other = (
        _write(model, Sample(1.0, 1.0), seed, chains=3)[0].clean.ids for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("pad", [0, 3])
def test_after_the_end_there_are_pads_and_they_are_certain(pad: int) -> None:
    model = _model(pad)
    (last,) = _write(model, Sample(1.5, 1.0), chains=200)
    labels = last.clean.ids
    ended = (labels == pad).cumsum(-1) - (labels == pad).long() > 0
    assert 0.01 < ended.float().mean() < 0.95
    assert (labels[ended] == pad).all()
    p = last.logits.softmax(-1)[ended]
    assert (p[:, pad] == 1).all()
    whole = _pass(model, labels, condition_of(IMAGES))
    torch.testing.assert_close(last.logits[~ended], whole[~ended], atol=1e-4, rtol=1e-4)


def test_writing_stops_where_all_have_ended(monkeypatch) -> None:
    model, passes = _model(2), 0
    bias = torch.zeros(N, K)
    bias[1, 2] = 1e4
    extend = type(model.denoiser).extend

    def counted(*words):
        nonlocal passes
        passes += 1
        return extend(*words)

    monkeypatch.setattr(type(model.denoiser), "extend", counted)
    (last,) = _write(model, bias=bias)
    assert passes == 2
    assert (last.clean.ids[..., 1:] == 2).all()
    assert last.index == N - 1


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_given_tokens_stand_and_condition_those_behind_them(guidance: float) -> None:
    model = _model()
    held = torch.full((1, 1, N), FREE)
    held[..., 1], held[..., 3] = 4, 0
    (last,) = _write(model, given_labels=held, guidance=guidance, chains=2)
    labels = last.clean.ids
    assert (labels[..., 1] == 4).all()
    assert (labels[..., 3] == 0).all()
    p = last.logits.softmax(-1)
    assert (p[..., 1, 4] == 1).all()
    assert (p[..., 3, 0] == 1).all()
    if guidance == 1:
        free = [0, 2, 4]
        whole = _pass(model, labels, condition_of(IMAGES))
        torch.testing.assert_close(
            last.logits[..., free, :], whole[..., free, :], atol=1e-4, rtol=1e-4
        )


def test_each_chain_may_be_given_its_own() -> None:
    held = torch.randint(-1, K, (IMAGES, 3, N), generator=generator(4))
    (last,) = _write(_model(), given_labels=held, chains=3)
    assert torch.equal(last.clean.ids[held != FREE], held[held != FREE])


@pytest.mark.parametrize("shape", [(N, K), (1, K), (IMAGES, 2, N, K)])
def test_a_bias_is_added(shape: tuple[int, ...]) -> None:
    model = _model()
    bias = 3 * torch.randn(shape, generator=generator(6))
    (last,) = _write(model, bias=bias, chains=2)
    whole = _pass(model, last.clean.ids, condition_of(IMAGES)) + bias
    torch.testing.assert_close(last.logits, whole, atol=1e-4, rtol=1e-4)


def test_a_token_takes_its_own_classes_alone() -> None:
    ranges = ((0, 2), (2, 3), (3, 6), (0, 6), (4, 6))
    (last,) = _write(_model(token_classes=ranges), Sample(3.0, 1.0), chains=20)
    for token, (start, stop) in enumerate(ranges):
        own = last.clean.ids[..., token]
        assert ((own >= start) & (own < stop)).all()


def test_a_trace_shows_every_token_as_it_comes() -> None:
    model = _model(5)
    told = _write(model, keep_y_t=True, chains=2)
    assert [step.index for step in told] == list(range(N))
    assert [step.t for step in told] == pytest.approx([1 - i / N for i in range(N)])
    for index, step in enumerate(told):
        assert (step.clean.ids[..., index + 1 :] == 5).all()
        seen = slice(0, index + 1)
        assert torch.equal(step.clean.ids[..., seen], told[-1].clean.ids[..., seen])


def test_what_a_chain_was_given_comes_with_its_probability() -> None:
    prior = torch.rand(IMAGES, 2, generator=generator())
    (last,) = _write(_model(), chains=2, prior=prior)
    assert torch.equal(last.prior, prior)


def test_the_likelihood_is_the_sum_of_a_pass() -> None:
    model = _model(0)
    labels = torch.randint(K, (IMAGES, 7, N), generator=generator(8))
    log_p = _pass(model, labels, condition_of(IMAGES)).log_softmax(-1)
    each = log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    ended = (labels == 0).cumsum(-1) - (labels == 0).long() > 0
    told = model.process.likelihood(model, model.prepare(condition_of(IMAGES)), labels)
    torch.testing.assert_close(told, (each * ~ended).sum(-1))
    other = torch.where(ended, 3, labels)
    again = model.process.likelihood(model, model.prepare(condition_of(IMAGES)), other)
    torch.testing.assert_close(again, told)


def test_losses_are_weighted_at_the_level_of_what_is_predicted() -> None:
    """A position reads a clean token and predicts one of which it has no signal."""
    labels = torch.randint(K, (IMAGES, 2, N), generator=generator(1))
    batch = corrupted(_model(), Targets(labels), ObjectiveSettings(), generator()).batch
    assert float(batch.alpha_bar.max()) == 1
    assert batch.target_alpha_bar is not None
    assert not batch.target_alpha_bar.any()
