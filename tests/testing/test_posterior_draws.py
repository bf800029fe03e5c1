"""Samplers draw from the posterior: chains against the enumerated joint, by chi-square.

With the exact denoiser, and with any network whose likelihood is enumerated. What does not draw
from it is listed with its reason, and the same test sees it.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import ChainSettings, LabelDiffusion
from addkit.plugin import load_registry
from addkit.plugin.protocols import Sampler
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.processes.blocks import BlocksProcess
from addkit.processes.gaussian import GaussianProcess
from addkit.processes.masked import MaskedProcess
from addkit.samplers.blocks import sample
from addkit.samplers.ordered import LeftToRight
from addkit.testing.exact_models import JointProblem, Levels, exact_denoiser
from addkit.testing.fixed_inputs import generator, network_of
from addkit.testing.small_problem import Bench, Example
from addkit.to_one.operators import Sample

REGISTRY = load_registry()
LEAST = 0.001
"""p-values below are no chance: of the about 30 tests here, 3 % of seeds would see one."""

ONE_LABEL: dict[str, tuple[dict[str, Any], ...]] = {
    "renoise": ({}, {"kappa": 0.5}),
    "ddim": ({}, {"eta": 0.5}),
    "ancestral": ({},),
    "gibbs": ({},),
    "maskgit": ({}, {"order": "random"}),
    "left-to-right": ({},),
}
"""Exact for one label at any number of steps: a drawn label and the noise that it leaves have the
joint distribution of the true ones, so each next state has its marginal, however much of the noise
is carried over."""

NO_DRAWS = {
    "refine": "reads its own answer again without noise, and so sharpens it",
    "beam": "searches for the most probable answers",
    "surest-beam": "searches for the most probable answers",
    "leave-one-out": "settles the surest label first",
    "weighted-draws": "ranks its draws, and gives their weights as marginals",
}

TOKEN_BY_TOKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "random order": ("maskgit", {"order": "random"}),
    "left to right": ("left-to-right", {}),
}
"""Exact for labels that depend on each other: the chain rule, in an order that asks no label."""

IN_THE_LIMIT = {"ancestral": ("ancestral", {}), "ddim": ("ddim", {})}
"""Tokens are drawn apart in each step, an error that vanishes with the size of the steps."""

NOT_THE_JOINT: dict[str, tuple[str, dict[str, Any], int]] = {
    # Settles first what the drawn label makes sure, which prefers probable labels.
    "surest first": ("maskgit", {}, 4),
    # Draws several tokens apart, of which none has read the others.
    "two at a time": ("maskgit", {"order": "random"}, 2),
    # Waiting tokens are noisy draws of their own, which did not read the settled ones.
    "annealed": ("left-to-right", {"others": "annealed"}, 4),
    # Forgets y_t, so that tokens are drawn apart at every noise level, not between two.
    "gibbs": ("gibbs", {}, 20),
}


def _sampler(name: str, settings: dict[str, Any]) -> Sampler:
    built: Sampler = Bench(REGISTRY.get("sampler", name), Example(settings=settings)).build()
    return built


def _draws(
    model: LabelDiffusion, condition: Tensor, sampler: Sampler, steps: int, chains: int
) -> Tensor:
    """Labels of the chains of one image, (R, N), each drawn from its prediction."""
    settings = ChainSettings(steps=steps, chains=chains)
    *_, last = sample(model, condition, sampler, Sample(1.0, 1.0), settings, generator())
    return last.clean.ids[0]


def _p_value(index: Tensor, p: Tensor) -> float:
    """Pearson's test of draws (n,) against probabilities (M,), the rare ones taken as one."""
    counts = torch.bincount(index, minlength=len(p)).double()
    expected = len(index) * p.double()
    cells = [
        torch.cat([x[expected >= 5], x[expected < 5].sum().view(1)]) for x in (counts, expected)
    ]
    counts, expected = (x[cells[1] > 0] for x in cells)
    distance = ((counts - expected).square() / expected).sum()
    degrees = torch.tensor(len(expected) - 1.0).double()
    return float(torch.special.gammaincc(degrees / 2, distance / 2))


def test_every_sampler_is_on_a_list() -> None:
    own = {
        name
        for name in REGISTRY.names("sampler")
        if not REGISTRY.get("sampler", name).is_third_partys
    }
    assert {*ONE_LABEL, *NO_DRAWS} == own


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(
    ("name", "settings"), [(name, each) for name in ONE_LABEL for each in ONE_LABEL[name]]
)
def test_chains_of_one_label_draw_from_its_posterior(
    name: str, settings: dict[str, Any], steps: int
) -> None:
    p = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    model = exact_denoiser(5, Levels(lambda t: 1 - t))
    drawn = _draws(model, p.log().view(1, 1, 5), _sampler(name, settings), steps, 20_000)
    assert _p_value(drawn[:, 0], p) > LEAST


def test_without_noise_a_label_is_not_drawn_from_its_posterior() -> None:
    p = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    model = exact_denoiser(5, Levels(lambda t: 1 - t))
    drawn = _draws(model, p.log().view(1, 1, 5), _sampler("refine", {}), 4, 20_000)
    assert _p_value(drawn[:, 0], p) < LEAST


def _joint(
    name: str, settings: dict[str, Any], steps: int, process: Any = None
) -> tuple[float, float]:
    """The p-value of 4,000 chains over 16 combinations of four labels, and the share of chains
    that end in no combination, an answer of probability 0.
    """
    problem = JointProblem.of(1, m=0.5, count=16)
    sampler = _sampler(name, settings)
    drawn = _draws(problem.model(process), problem.condition, sampler, steps, 4_000)
    index = problem.index(drawn)
    inside = index < len(problem.combinations)
    impossible = 1 - float(inside.double().mean())
    return _p_value(index[inside], problem.log_joint[0].exp()), impossible


@pytest.mark.parametrize(
    "process", [GaussianProcess(), MaskedProcess()], ids=["gaussian", "masked"]
)
@pytest.mark.parametrize("name", TOKEN_BY_TOKEN)
def test_token_by_token_chains_draw_from_the_joint(name: str, process: Any) -> None:
    p_value, impossible = _joint(*TOKEN_BY_TOKEN[name], 4, process)
    assert p_value > LEAST
    assert impossible == 0


@pytest.mark.parametrize("name", IN_THE_LIMIT)
def test_small_steps_draw_from_the_joint(name: str) -> None:
    p_value, impossible = _joint(*IN_THE_LIMIT[name], 50)
    assert p_value > LEAST
    assert impossible < 0.002


@pytest.mark.parametrize("name", NOT_THE_JOINT)
def test_others_do_not_draw_from_the_joint(name: str) -> None:
    p_value, _ = _joint(*NOT_THE_JOINT[name])
    assert p_value < LEAST


PROCESSES: dict[str, Any] = {
    "gaussian": GaussianProcess(),
    "masked": MaskedProcess(),
    "autoregressive": AutoregressiveProcess(),
    "autoregressive, captions": AutoregressiveProcess(pad=1),
    "blocks of one": BlocksProcess(1),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_chains_from_left_to_right_have_the_likelihoods_shares(process: str) -> None:
    """Of any network: its weights are random, and every answer's probability is enumerated."""
    network = network_of(PROCESSES[process], 3, 3).requires_grad_(False)
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    condition = torch.randn(1, 4, 16, generator=generator(1))
    log_p = network.process.likelihood(network, network.prepare(condition), every.unsqueeze(0))
    p = log_p[0].exp()
    pad = getattr(PROCESSES[process], "pad", None)
    if pad is not None:
        # What follows the end is all pads, and every answer that ends alike is one answer.
        ended = (every == pad).long().cumsum(1).roll(1, 1) > 0
        ended[:, 0] = False
        p = torch.where((~ended | (every == pad)).all(1), p, 0.0)
    drawn = _draws(network, condition, LeftToRight(pad=pad), 3, 2_000)
    index = (drawn * torch.tensor([9, 3, 1])).sum(1)
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert _p_value(index, p) > LEAST
