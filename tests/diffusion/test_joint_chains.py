"""Chains with the exact denoiser of dependent labels: what each path and read-out is worth.

Answers are scored by p(answer | x), which the oracle knows: the expected exact match without the
labels' own sampling error. The order of the read-outs is that of the prototypes' table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import FREE, ChainSettings, ChainStep
from addkit.processes.masked import MaskedProcess
from addkit.read_outs.whole import Consensus
from addkit.samplers.blocks import sample
from addkit.samplers.ordered import LeftToRight, Maskgit
from addkit.samplers.renoise import Ddim, Gibbs, Kappa, Refine, Renoise
from addkit.testing.exact_models import JointProblem, given, is_allowed, marginals, most_probable
from addkit.to_one.argmax import ArgMax
from addkit.to_one.sample import Sample

from .networks import generator

CONFIDENCE, LEFT, RANDOM = Maskgit(), LeftToRight(), Maskgit("random")
IMAGES = 1000


@cache
def _problem() -> JointProblem:
    return JointProblem.of(IMAGES, m=1.45)


def _run(sampler: Any, steps: int, to_one: Any = None, process: Any = None, **more) -> ChainStep:
    problem = _problem()
    model = problem.model(process)
    settings = ChainSettings(steps=steps, **more)
    *_, last = sample(model, problem.condition, sampler, to_one or ArgMax(), settings, generator(1))
    return last


def _worth(labels: Tensor) -> float:
    """Percent."""
    return 100 * float(_problem().chance(labels).mean())


@pytest.fixture(scope="module")
def worth() -> Callable[..., float]:
    """Percent of right answers of a chain's last step."""

    @cache
    def run(sampler: Any, steps: int, draws: bool = False) -> float:
        to_one = Sample(1.0, 1.0) if draws else ArgMax()
        return _worth(_run(sampler, steps, to_one).clean.ids[:, 0])

    return run


@pytest.fixture(scope="module")
def best() -> float:
    """The joint mode's."""
    problem = _problem()
    return _worth(most_probable(problem.log_joint, problem.combinations))


@pytest.fixture(scope="module")
def shot() -> float:
    """Each token's own best."""
    problem = _problem()
    return _worth(marginals(problem.log_joint, problem.combinations, 10).argmax(-1))


@pytest.fixture(scope="module")
def drawn() -> float:
    """A draw from the joint."""
    return 100 * float(_problem().log_joint.exp().square().sum(-1).mean())


def test_the_problem_is_worth_coordinating(best: float, shot: float, drawn: float) -> None:
    """As hard as the prototypes' four noisy pieces of clothing (55.7, 50.8 and 41.3)."""
    assert 50 < best < 65
    assert 3 < best - shot < 7
    assert 6 < shot - drawn < 14


@pytest.mark.parametrize("sampler", [CONFIDENCE, LEFT, RANDOM], ids=["sure", "left", "random"])
def test_settling_one_token_after_the_other_comes_near_the_joint_mode(
    worth, best: float, sampler: Any
) -> None:
    assert best - 1 < worth(sampler, 4) <= best


@pytest.mark.parametrize("sampler", [CONFIDENCE, Refine(), Renoise(), Ddim(0.0)])
def test_one_step_is_one_shot(worth, shot: float, sampler: Any) -> None:
    assert worth(sampler, 1) == pytest.approx(shot, abs=1e-9)


def test_fewer_steps_settle_several_tokens_blindly(worth, best: float, shot: float) -> None:
    two = worth(CONFIDENCE, 2)
    assert shot + 1 < two < worth(CONFIDENCE, 4)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_refine_comes_within_a_point_of_the_joint_mode_and_stays(
    worth, best: float, steps: int
) -> None:
    assert best - 1.2 < worth(Refine(), steps) <= best


def test_the_noisy_loop_first_gains_and_then_drifts_to_draws(
    worth, best: float, shot: float, drawn: float
) -> None:
    two, five, twenty, fifty = (worth(Renoise(), n) for n in (2, 5, 20, 50))
    assert shot + 0.5 < two < best - 1
    assert two - 1 > five
    assert five - 1.5 > twenty
    assert drawn < fifty < twenty + 0.5
    assert twenty < shot - 2


def test_keeping_the_noise_drifts_less(worth) -> None:
    assert worth(Ddim(0.0), 20) > worth(Renoise(), 20) + 2


@pytest.mark.parametrize(
    ("sampler", "steps", "slack"),
    [(LEFT, 4, 2.0), (RANDOM, 4, 2.0), (Kappa(1.0), 50, 3.0)],
    ids=["left", "random", "ancestral"],
)
def test_drawing_labels_draws_from_the_joint(
    worth, drawn: float, sampler: Any, steps: int, slack: float
) -> None:
    """Exactly so token by token: its sampling error is 1.3 here."""
    assert worth(sampler, steps, True) == pytest.approx(drawn, abs=slack)


def test_token_by_token_draws_have_the_joints_shares() -> None:
    """Every combination of one image, by chi-squared: 63 degrees of freedom, 0.1 %."""
    problem = JointProblem.of(1, m=1.0)
    model, chains = problem.model(), 4000
    settings = ChainSettings(steps=4, chains=chains)
    *_, last = sample(model, problem.condition, LEFT, Sample(1.0, 1.0), settings, generator(2))
    index = problem.index(last.clean.ids)[0]
    assert (index < 64).mean(dtype=torch.double) == 1
    wanted = chains * problem.log_joint[0].exp()
    counts = torch.bincount(index, minlength=64)
    large = wanted > 5
    distance = ((counts - wanted).square() / wanted)[large].sum()
    degrees = int(large.sum())
    assert degrees > 10
    assert float(distance) < degrees + 4 * (2 * degrees) ** 0.5


def test_many_chains_agree_on_the_mode(best: float, drawn: float) -> None:
    told = {}
    for chains in (1, 4, 16):
        last = _run(Renoise(), 10, chains=chains)
        told[chains] = _worth(Consensus().read([last]).labels)
    assert told[1] + 2 < told[4]
    assert told[4] + 1 < told[16]
    assert best - 1 < told[16] <= best


def test_guidance_undoes_the_drift(best: float) -> None:
    """The null condition is the flat joint: w sharpens p(y | x) ** w."""
    plain, guided = (_worth(_run(Renoise(), 20, guidance=w).clean.ids[:, 0]) for w in (1, 2))
    assert plain + 3 < guided < best


def test_loops_answer_with_allowed_combinations_and_one_shot_does_not() -> None:
    combinations = _problem().combinations
    for sampler, steps in ((CONFIDENCE, 4), (LEFT, 4), (Renoise(), 20)):
        allowed = is_allowed(_run(sampler, steps).clean.ids[:, 0], combinations)
        assert allowed.double().mean() > 0.995
    allowed = is_allowed(_run(CONFIDENCE, 1).clean.ids[:, 0], combinations)
    assert allowed.double().mean() < 0.92


def test_masked_chains_are_the_chains_of_settled_tokens() -> None:
    """A mask is a token at t = T: process and path are the same ones."""
    masked, plain = (
        _run(LEFT, 4, process=process).clean.ids for process in (MaskedProcess("none"), None)
    )
    assert torch.equal(masked, plain)


PATHS: dict[str, tuple[Any, int]] = {
    "renoise": (Renoise(), 5),
    "kappa": (Kappa(0.5), 5),
    "ancestral": (Kappa(1.0), 5),
    "ddim": (Ddim(0.0), 5),
    "gibbs": (Gibbs(), 5),
    "refine": (Refine(), 5),
    "maskgit": (CONFIDENCE, 3),
    "commit, annealed": (Maskgit(others="annealed"), 3),
    "left-to-right": (LEFT, 3),
}


def _hint(problem: JointProblem) -> Tensor:
    """Token 2 of each image's second best combination, (B, 1, N)."""
    second = problem.combinations[problem.log_joint.topk(2).indices[:, 1]]
    held = torch.full_like(second, FREE)
    held[:, 2] = second[:, 2]
    return held.unsqueeze(1)


@pytest.mark.parametrize("name", PATHS)
def test_what_is_given_conditions_the_others(name: str) -> None:
    """The first step already says p(y_n | given token, x), and the given one is certain."""
    sampler, steps = PATHS[name]
    problem = _problem()
    held, model = _hint(problem), problem.model()
    settings = ChainSettings(steps=steps, chains=2, given_labels=held)
    told = list(sample(model, problem.condition, sampler, ArgMax(), settings, generator(3)))
    known = given(problem.log_joint, problem.combinations, held[:, 0])
    wanted = marginals(known, problem.combinations, 10).exp().float()
    first = told[0].logits.softmax(-1)
    torch.testing.assert_close(first, wanted.unsqueeze(1).expand_as(first), atol=1e-4, rtol=0)
    for step in told:
        assert torch.equal(step.clean.ids[..., 2], held[..., 2].expand(-1, 2))
        p = step.logits.softmax(-1).gather(-1, step.clean.ids.unsqueeze(-1))[..., 2, 0]
        assert torch.equal(p, torch.ones_like(p))


@pytest.mark.parametrize("name", ["maskgit", "left-to-right", "refine"])
def test_with_a_hint_the_best_of_what_is_left_is_found(name: str) -> None:
    sampler, steps = PATHS[name]
    problem = _problem()
    held = _hint(problem)
    labels = _run(sampler, steps, given_labels=held).clean.ids[:, 0]
    known = given(problem.log_joint, problem.combinations, held[:, 0])
    among = JointProblem(problem.combinations, known)
    mode = float(known.exp().amax(-1).mean())
    assert float(among.chance(labels).mean()) > mode - 0.012
