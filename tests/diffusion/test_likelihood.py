"""log p(labels | condition), factor by factor."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from addkit.diffusion import Clean, LabelDiffusion, Layout, any_order_likelihood
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.processes.blocks import BlocksProcess
from addkit.processes.masked import MaskedProcess
from addkit.testing.exact_models import JointProblem

from .networks import condition_of, generator, network

K, N = 3, 4
EVERYTHING = torch.tensor(list(itertools.product(range(K), repeat=N)))
PROCESSES = {
    "gaussian": (None, "posterior"),
    "masked": (MaskedProcess("none"), "token"),
    "blocks": (BlocksProcess(1), "posterior"),
    "autoregressive": (AutoregressiveProcess(None), "token"),
    "autoregressive, pad": (AutoregressiveProcess(0), "posterior"),
}


def _everything(images: int, num_classes: int = K) -> Tensor:
    rows = torch.tensor(list(itertools.product(range(num_classes), repeat=N)))
    return rows.expand(images, -1, -1)


def _model(name: str = "gaussian", **more) -> LabelDiffusion:
    process, embedding = PROCESSES[name]
    more = {"num_classes": K, "num_tokens": N, "spread": 0.6, **more}
    return network(process, embedding=embedding, **more).requires_grad_(False)


def _log_p(model: LabelDiffusion, labels: Tensor, present: Tensor | None = None) -> Tensor:
    prepared = model.prepare(condition_of(len(labels)))
    return model.process.likelihood(model, prepared, labels, present)


def _one_by_one(model: LabelDiffusion, labels: Tensor, present: Tensor | None = None) -> Tensor:
    """The sum of log p(y_n | y_1, ..., y_{n-1}), a pass for each factor and image."""
    total = torch.zeros(labels.shape[:2])
    for image, candidate in itertools.product(*map(range, labels.shape[:2])):
        prepared = model.prepare(condition_of(len(labels))[image : image + 1])
        row = labels[image, candidate][None, None]
        there = None if present is None else present[image, candidate]
        layout = None if there is None else Layout(there[None, None, None])
        for token in range(N):
            t = (torch.arange(N) >= token).float()[None, None]
            state = model.corrupt(Clean(row), 1 - t, generator(9))
            features = model.features(state, t, prepared, layout)
            logits = model.logits(model.outputs(features), None, torch.zeros(1, 1, 1))
            if there is None or there[token]:
                total[image, candidate] += logits.log_softmax(-1)[0, 0, token, row[0, 0, token]]
    return total


@pytest.mark.parametrize("name", ["gaussian", "masked"])
@pytest.mark.parametrize("ranges", [(), ((0, 1), (0, 3), (1, 3), (2, 3))], ids=["free", "ranges"])
def test_any_order_is_the_sum_of_its_factors(ranges: tuple, name: str) -> None:
    model = _model(name, token_classes=ranges)
    labels = torch.randint(K, (2, 5, N), generator=generator(1))
    labels[..., 0], labels[..., 3] = 0, 2
    torch.testing.assert_close(_log_p(model, labels), _one_by_one(model, labels))


@pytest.mark.parametrize("name", PROCESSES)
def test_the_probabilities_of_everything_sum_to_one(name: str) -> None:
    """With a pad, whatever follows it is certain: each caption counts once."""
    labels = _everything(3)
    log_p = _log_p(_model(name), labels)
    if name == "autoregressive, pad":
        broken = ((labels == 0).cumsum(-1) > 0) & (labels != 0)
        log_p = log_p.masked_fill(broken.any(-1), -torch.inf)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(3), atol=1e-5, rtol=1e-5)
    assert log_p.exp().amax() > 3 / K**N


def test_only_what_tokens_can_be_is_probable() -> None:
    ranges = ((0, 1), (0, 3), (1, 3), (2, 3))
    labels = _everything(2)
    log_p = _log_p(_model(token_classes=ranges), labels)
    fits = torch.ones_like(log_p, dtype=torch.bool)
    for token, (start, stop) in enumerate(ranges):
        fits &= (labels[..., token] >= start) & (labels[..., token] < stop)
    torch.testing.assert_close((log_p.exp() * fits).sum(-1), torch.ones(2))
    assert (log_p[~fits] < -1e3).all()


@pytest.mark.parametrize("name", ["gaussian", "blocks", "autoregressive"])
def test_tokens_that_are_not_there_are_neither_seen_nor_counted(name: str) -> None:
    model = _model(name)
    labels = torch.randint(K, (2, 9, N), generator=generator(2))
    lengths = torch.randint(1, N + 1, (2, 9, 1), generator=generator(3))
    present = torch.arange(N) < lengths
    log_p = _log_p(model, labels, present)
    other = torch.where(present, labels, (labels + 1) % K)
    torch.testing.assert_close(_log_p(model, other, present), log_p)
    if name == "gaussian":
        torch.testing.assert_close(log_p, _one_by_one(model, labels, present))
    short = (lengths < N).squeeze(-1)
    assert (_log_p(model, labels)[short] != log_p[short]).all()
    everything = torch.ones_like(present)
    torch.testing.assert_close(_log_p(model, labels, everything), _log_p(model, labels))


@pytest.mark.parametrize("name", PROCESSES)
def test_factors_that_count_and_those_that_do_not_are_all_factors(name: str) -> None:
    model, labels = _model(name), _everything(2)[:, ::5]
    prepared = model.prepare(condition_of(2))
    counts = torch.randint(2, labels.shape, generator=generator(4)).bool()
    some, others, everything = (
        model.process.likelihood(model, prepared, labels, None, each)
        for each in (counts, ~counts, None)
    )
    torch.testing.assert_close(some + others, everything)
    # Sums of the first n factors: each further one is a log-probability, none of which is 0.
    first = [
        model.process.likelihood(
            model, prepared, labels, None, (torch.arange(N) < n).expand_as(labels)
        )
        for n in range(N + 1)
    ]
    assert (first[0] == 0).all()
    torch.testing.assert_close(first[N], everything)
    certain = (labels == 0).cumsum(-1).roll(1, -1) > 0 if "pad" in name else labels < 0
    certain[..., 0] = False
    for n in range(N):
        assert ((first[n + 1] < first[n]) | certain[..., n]).all()


def test_captions_of_one_length_sum_to_one() -> None:
    model = _model()
    rows = EVERYTHING[EVERYTHING[:, 2:].eq(0).all(-1)].expand(2, -1, -1)
    present = (torch.arange(N) < 2).expand_as(rows)
    log_p = _log_p(model, rows, present)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(2))


def test_the_oracle_says_its_own_joint() -> None:
    """p(y | x) of every allowed combination, and nothing for a forbidden one."""
    problem = JointProblem.of(50, m=1.3)
    model = problem.model()
    labels = problem.combinations.expand(50, -1, -1)
    log_p = any_order_likelihood(model, (problem.condition[:, 0],), labels)
    torch.testing.assert_close(log_p.exp(), problem.log_joint.exp().float(), atol=1e-5, rtol=1e-4)
    wrong = problem.combinations[:1].clone()
    while bool((wrong == problem.combinations).all(-1).any()):
        wrong[0, 3] = (wrong[0, 3] + 1) % 10
    wrong = wrong.expand(50, 1, -1)
    assert any_order_likelihood(model, (problem.condition[:, 0],), wrong).max() < -50


def test_what_does_not_count_under_the_skip_does_not_enter() -> None:
    """A token to be predicted is pure noise, whose evidence is none."""
    plain, skip = _model(), _model(bayes_skip=True)
    skip.load_state_dict(plain.state_dict())
    labels = _everything(1)[:, :10]
    torch.testing.assert_close(_log_p(skip, labels), _log_p(plain, labels))
