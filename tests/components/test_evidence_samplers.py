"""Soft evidence against the exact posterior, in each sampler's own way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import FREE, ChainSettings, ChainStep, LabelDiffusion, NoisyLabels
from addkit.diffusion.noise import log_likelihood_scale, unit_alpha_bar
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.processes.masked import MaskedProcess
from addkit.samplers import weighted_draws
from addkit.samplers.autoregressive import Beam
from addkit.samplers.blocks import sample
from addkit.samplers.leave_one_out import LeaveOneOut
from addkit.samplers.search import SHARE, marginals_of
from addkit.samplers.surest_beam import SurestBeam
from addkit.samplers.weighted_draws import WeightedDraws
from addkit.sampling import Chain
from addkit.testing.exact_models import JointProblem, marginals
from addkit.to_one.operators import ArgMax

from ..diffusion.networks import condition_of, generator, network

IMAGES, K = 6, 4


def _problem(num_tokens: int) -> JointProblem:
    """Every sequence is possible, each with a probability of its own."""
    words = torch.tensor(list(itertools.product(range(K), repeat=num_tokens)))
    scores = 2 * torch.randn(IMAGES, len(words), generator=generator(1), dtype=torch.float64)
    return JointProblem(words, scores.log_softmax(-1), K)


def _evidence(num_tokens: int, seed: int = 4) -> Tensor:
    return 2 * torch.randn(IMAGES, 1, num_tokens, K, generator=generator(seed))


def _posterior(words: Tensor, log_joint: Tensor, evidence: Tensor) -> Tensor:
    """log p(word | x, L), (B, M), by enumeration."""
    places = torch.arange(words.shape[1])
    scores = log_joint + evidence[:, 0].double()[:, places, words].sum(-1)
    return scores.log_softmax(-1)


def _run(model: LabelDiffusion, condition: Tensor, sampler: Any, **settings: Any) -> ChainStep:
    settings = {"steps": 20, **settings}
    *_, last = sample(model, condition, sampler, ArgMax(), ChainSettings(**settings), generator())
    return last


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_unit_level_makes_a_label_its_own_log_likelihood(scale: float) -> None:
    alpha_bar = torch.tensor(unit_alpha_bar(scale), dtype=torch.float64)
    assert 0 < float(alpha_bar) < 1
    assert float(log_likelihood_scale(alpha_bar, scale)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("num_tokens", [1, 2, 3, 4])
def test_the_exact_denoiser_gives_the_exact_posterior(num_tokens: int) -> None:
    problem, evidence = _problem(num_tokens), _evidence(num_tokens)
    step = _run(problem.model(), problem.condition, LeaveOneOut(), evidence=evidence)
    exact = _posterior(problem.combinations, problem.log_joint, evidence)
    expected = marginals(exact, problem.combinations, K).exp().float()
    torch.testing.assert_close(step.marginals, expected, atol=1e-4, rtol=1e-3)
    # Settled labels are clean, so that the answer's factors multiply to its exact probability.
    answer = exact.gather(1, problem.index(step.clean.ids)).float()
    torch.testing.assert_close(step.scores, answer, atol=1e-3, rtol=1e-3)
    # The surest label first is greedy, and close to the mode.
    assert float((answer[:, 0] - exact.max(1).values.float()).mean()) > -0.3


def test_a_label_is_not_counted_twice() -> None:
    """Reading its own evidence in the state too would square it."""
    problem, evidence = _problem(2), _evidence(2)
    step = _run(problem.model(), problem.condition, LeaveOneOut(), evidence=evidence)
    exact = _posterior(problem.combinations, problem.log_joint, 2 * evidence)
    twice = marginals(exact, problem.combinations, K).exp().float()
    assert float((step.marginals - twice).abs().max()) > 0.05


def test_without_evidence_the_marginals_are_those_of_the_network() -> None:
    problem = _problem(3)
    step = _run(problem.model(), problem.condition, LeaveOneOut())
    expected = marginals(problem.log_joint, problem.combinations, K).exp().float()
    torch.testing.assert_close(step.marginals, expected, atol=1e-4, rtol=1e-3)


def test_given_labels_and_evidence_go_together() -> None:
    problem, evidence = _problem(3), _evidence(3)
    given = torch.tensor([[[FREE, 2, FREE]]])
    evidence[:, :, 1] = 0.0
    step = _run(
        problem.model(), problem.condition, LeaveOneOut(), evidence=evidence, given_labels=given
    )
    possible = problem.combinations[:, 1] == 2
    joint = problem.log_joint.masked_fill(~possible, -torch.inf).log_softmax(-1)
    exact = _posterior(problem.combinations, joint, evidence)
    expected = marginals(exact, problem.combinations, K).exp().float()
    torch.testing.assert_close(step.marginals, expected, atol=1e-4, rtol=1e-3)
    assert bool((step.clean.ids[..., 1] == 2).all())


def test_few_steps_settle_several_labels_at_a_time() -> None:
    problem, evidence = _problem(4), _evidence(4)
    one = _run(problem.model(), problem.condition, LeaveOneOut(), evidence=evidence, steps=1)
    assert torch.equal(one.clean.ids[:, 0], one.marginals.argmax(-1))
    assert one.index == 0
    two = _run(problem.model(), problem.condition, LeaveOneOut(), evidence=evidence, steps=2)
    torch.testing.assert_close(two.marginals, one.marginals)
    assert two.index == 1


@pytest.mark.parametrize("guidance", [1.0, 1.7])
def test_copies_of_large_problems_go_in_parts(
    guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(
        num_classes=K, num_tokens=5, time=False, token_classes=((0, 2),) * 2 + ((2, K),) * 3
    )
    evidence = _evidence(5)
    asked = {"evidence": evidence, "guidance": guidance}
    whole = _run(model, condition_of(IMAGES), LeaveOneOut(), **asked)
    monkeypatch.setattr("addkit.samplers.leave_one_out.LARGEST", 1)
    parts = _run(model, condition_of(IMAGES), LeaveOneOut(), **asked)
    torch.testing.assert_close(parts.marginals, whole.marginals)
    assert torch.equal(parts.clean.ids, whole.clean.ids)
    assert bool((whole.clean.ids[..., :2] < 2).all() and (whole.clean.ids[..., 2:] >= 2).all())


def test_a_constant_of_a_label_changes_nothing() -> None:
    model = network(num_classes=K, num_tokens=3, time=False, token_classes=((0, 2), (2, K), (2, K)))
    evidence = _evidence(3)
    first = _run(model, condition_of(IMAGES), LeaveOneOut(), evidence=evidence)
    # Also where it is added to the classes that a label can take alone.
    moved = evidence + 3 * torch.ones(3).view(1, 1, 3, 1)
    moved[..., 0, 2:] = 50.0
    second = _run(model, condition_of(IMAGES), LeaveOneOut(), evidence=moved)
    torch.testing.assert_close(first.marginals, second.marginals, atol=1e-5, rtol=1e-4)


def _everything(model: LabelDiffusion, num_tokens: int, evidence: Tensor) -> tuple[Tensor, Tensor]:
    """All words and log p(word | x, L) by the network's own likelihood."""
    words = torch.tensor(list(itertools.product(range(K), repeat=num_tokens)))
    log_p = model.process.likelihood(
        model, model.prepare(condition_of(IMAGES)), words.expand(IMAGES, -1, -1)
    )
    return words, _posterior(words, log_p.double(), evidence)


def test_a_wide_beam_is_the_posterior_of_an_autoregressive_network() -> None:
    model = network(AutoregressiveProcess(), num_classes=K, num_tokens=3, embedding="token")
    evidence = _evidence(3)
    words, exact = _everything(model, 3, evidence)
    step = _run(model, condition_of(IMAGES), Beam(K**3), evidence=evidence)
    assert torch.equal(step.clean.ids[:, 0], words[exact.argmax(1)])
    # Up to the share that goes to the candidates' own conditionals.
    expected = marginals(exact, words, K).exp().float()
    torch.testing.assert_close(step.marginals, expected, atol=0.02, rtol=0)
    torch.testing.assert_close(step.marginals.sum(-1), torch.ones(IMAGES, 3))


@pytest.mark.parametrize("biased", [True, False])
def test_weighted_draws_come_close_to_the_posterior(biased: bool) -> None:
    model = network(AutoregressiveProcess(), num_classes=K, num_tokens=3, embedding="token")
    evidence = 0.5 * _evidence(3)
    words, exact = _everything(model, 3, evidence)
    step = _run(model, condition_of(IMAGES), WeightedDraws(4000, biased), evidence=evidence)
    expected = marginals(exact, words, K).exp().float()
    torch.testing.assert_close(step.marginals, expected, atol=0.06, rtol=0)


def test_a_wide_surest_beam_finds_the_best_answer_of_its_order() -> None:
    model = network(MaskedProcess(), num_classes=K, num_tokens=3, embedding="token")
    evidence = _evidence(3)
    wide = _run(model, condition_of(IMAGES), SurestBeam(K**3), evidence=evidence)
    one = _run(model, condition_of(IMAGES), SurestBeam(1), evidence=evidence)
    assert wide.clean.ids.shape == (IMAGES, K**3, 3)
    assert bool((wide.scores.diff(dim=1) <= 0).all())
    assert bool((wide.scores[:, 0] >= one.scores[:, 0] - 1e-5).all())
    assert all(len({tuple(row) for row in rows}) == K**3 for rows in wide.clean.ids.tolist())
    # With all answers kept the weights are a distribution over them.
    places, rows = torch.arange(3), wide.clean.ids
    observed = evidence[:, 0][torch.arange(IMAGES)[:, None, None], places, rows].sum(-1)
    prior = (wide.scores - observed).logsumexp(-1)
    torch.testing.assert_close(prior, torch.zeros(IMAGES), atol=1e-4, rtol=0)


def test_evidence_of_certainty_is_a_given_label() -> None:
    sure = torch.zeros(IMAGES, 1, 3, K)
    sure[:, :, 1] = -1e4
    sure[:, :, 1, 2] = 0.0
    cases = [
        (MaskedProcess(), "token", SurestBeam(4)),
        (AutoregressiveProcess(), "token", Beam(K**2)),
        (None, "posterior", LeaveOneOut()),
    ]
    for process, embedding, sampler in cases:
        model = network(
            process, num_classes=K, num_tokens=3, embedding=embedding, time=False
        ).requires_grad_(False)
        step = _run(model, condition_of(IMAGES), sampler, evidence=sure)
        assert bool((step.clean.ids[:, 0, 1] == 2).all())
        assert float(step.marginals[:, 1, 2].min()) > 0.999


def test_a_bias_is_added_to_a_labels_own_logits_alone() -> None:
    problem, bias = _problem(3), _evidence(3)[:1]
    model, condition = problem.model(), problem.condition
    plain = _run(model, condition, LeaveOneOut()).marginals
    step = _run(model, condition, LeaveOneOut(), bias=bias)
    wanted = (plain.log() + bias[:, 0]).softmax(-1)
    torch.testing.assert_close(step.marginals, wanted, atol=1e-4, rtol=1e-3)


def test_the_surest_label_settles_first() -> None:
    """Label 1 is surer, and label 0's most probable class another once it is known."""
    words = torch.tensor([[0, 0], [1, 0], [1, 1]])
    log_joint = torch.tensor([[0.40, 0.35, 0.25]], dtype=torch.float64).log()
    problem = JointProblem(words, log_joint, 2)
    step = _run(problem.model(), problem.condition, LeaveOneOut())
    assert step.clean.ids.tolist() == [[[0, 0]]]
    torch.testing.assert_close(step.marginals[0, 0], torch.tensor([0.40, 0.60]))


def test_a_surest_beam_settles_labels_by_rising_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(MaskedProcess(), num_classes=K, num_tokens=4, embedding="token")
    evidence, seen, predict = _evidence(4), [], Chain.predict

    def spy(chain: Chain, now: NoisyLabels) -> Tensor:
        logits = predict(chain, now)
        seen.append((now.t == 0, logits))
        return logits

    monkeypatch.setattr(Chain, "predict", spy)
    _run(model, condition_of(IMAGES), SurestBeam(2), evidence=evidence)
    first = (seen[0][1].log_softmax(-1) + evidence)[:, 0].softmax(-1)
    order = torch.special.entr(first).sum(-1).argsort(-1)
    assert (order != torch.arange(4)).any()
    for index, (settled, _) in enumerate(seen):
        wanted = torch.zeros(IMAGES, 4, dtype=torch.bool).scatter(1, order[:, :index], True)
        assert torch.equal(settled[:, 0], wanted)


def test_marginals_of_a_search_by_hand() -> None:
    labels = torch.tensor([[[0], [1]]])
    own = torch.tensor([[[[0.5, 0.3, 0.2]], [[0.1, 0.6, 0.3]]]])
    weights = torch.tensor([[0.75, 0.25]])
    found = marginals_of(labels, own.log(), weights.log())
    hot = torch.tensor([0.75, 0.25, 0.0])
    mixed = 0.75 * own[0, 0, 0] + 0.25 * own[0, 1, 0]
    torch.testing.assert_close(found[0, 0], (1 - SHARE) * hot + SHARE * mixed)


def test_biased_draws_are_weighted_by_what_each_label_leaves_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network(AutoregressiveProcess(), num_classes=K, num_tokens=3, embedding="token")
    told: list[Tensor] = []

    def spy(*words: Tensor) -> Tensor:
        told.extend(words)
        return marginals_of(*words)

    monkeypatch.setattr(weighted_draws, "marginals_of", spy)
    _run(model, condition_of(IMAGES), WeightedDraws(5), evidence=_evidence(3))
    _, logits, weights = told
    # log p(y | x) + L(y) less the log-probability of the draw.
    torch.testing.assert_close(weights, logits.logsumexp(-1).sum(-1))
