"""The chain with an exact Bayes denoiser, whose behaviour theory tells."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from addkit.denoisers.mlp import MlpDenoiser
from addkit.denoisers.settings import MlpConfig
from addkit.diffusion import (
    ChainSettings,
    ChainStep,
    Clean,
    LabelDiffusion,
    alpha_bar_at,
    flip_probability,
    gibbs_accuracy,
)
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.losses.cross_entropy import CrossEntropy
from addkit.processes.gaussian import GaussianProcess
from addkit.read_outs.by_token import Last
from addkit.samplers.blocks import sample
from addkit.samplers.renoise import Ddim, Gibbs, Kappa, Renoise
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import LabelAccuracyConfig
from addkit.to_one.operators import ArgMax, Softmax

RENOISE, ANCESTRAL, DDIM, GIBBS = (
    Renoise(),
    Kappa(1.0),
    Ddim(0.0),
    Gibbs(),
)


class Hold:
    """Feeds back class 0 always."""

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        return Clean(torch.zeros(logits.shape[:-1], dtype=torch.long))


def _run(model, condition, sampler=RENOISE, to_one=None, seed: int = 0, **settings):
    generator = torch.Generator().manual_seed(seed)
    options = ChainSettings(**settings)
    return list(sample(model, condition, sampler, to_one or ArgMax(), options, generator))


def _constant_m(m: float):
    """Pure noise at t = 1, and signal-to-noise m at every other time."""
    level = float(alpha_bar_at(torch.tensor(m)))
    return lambda t: torch.where(t == 1, 0.0, level)


# Two classes: the flip law.


@pytest.mark.parametrize("log_odds", [-0.7, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("m", [0.5, 1.0, 2.0])
def test_one_step_flips_as_often_as_the_law_says(exact, log_odds: float, m: float) -> None:
    chains = 40000
    condition = torch.tensor([log_odds, 0.0]).log_softmax(-1).view(1, 1, 2)
    step = _run(exact(2, _constant_m(m)), condition, to_one=Hold(), steps=2, chains=chains)[1]
    flips = float((step.logits.argmax(-1) == 1).double().mean())
    odds = torch.tensor(log_odds, dtype=torch.double)
    expected = float(flip_probability(odds, torch.tensor(m, dtype=torch.double)))
    assert abs(flips - expected) < 3.5 * math.sqrt(expected * (1 - expected) / chains)


@pytest.mark.parametrize(("log_odds", "m"), [(0.5, 0.7), (0.5, 1.5), (1.5, 1.5)])
def test_a_long_loop_settles_at_the_laws_stationary_odds(exact, log_odds: float, m: float) -> None:
    chains = 20000
    condition = torch.tensor([log_odds, 0.0]).log_softmax(-1).view(1, 1, 2)
    last = _run(exact(2, _constant_m(m)), condition, steps=60, chains=chains)[-1]
    stay = float((last.logits.argmax(-1) == 0).double().mean())
    d, level = torch.tensor(log_odds).double(), torch.tensor(m).double()
    to, back = flip_probability(d, level), flip_probability(-d, level)
    assert stay == pytest.approx(float(back / (to + back)), abs=4.5 * 0.5 / math.sqrt(chains))


# Ten classes, Bayes accuracy 79.9 %: where loops go.


@pytest.fixture(scope="module")
def oracle(exact, gaussian_classes):
    """The exact denoiser under the identity schedule, log p(k | x) of 3,000 images, and p."""
    problem = gaussian_classes(10, 16, 0.799)
    points, _ = problem.draw(3000, torch.Generator().manual_seed(5))
    condition = problem.log_posterior(points).unsqueeze(1)
    model = exact(10, LabelAccuracySchedule(LabelAccuracyConfig(), 10))
    return model, condition, condition.squeeze(1).exp()


def _accuracy(oracle, sampler=RENOISE, to_one=None, **settings) -> float:
    """E p(answer | x): expected accuracy of the last step's answer."""
    model, condition, posterior = oracle
    answers = _run(model, condition, sampler, to_one, **settings)[-1].logits.argmax(-1)
    return float(posterior.gather(1, answers[:, 0]).mean())


def test_renoising_never_beats_one_pass_and_falls_towards_the_gibbs_value(oracle) -> None:
    best, gibbs = float(oracle[2].amax(-1).mean()), float(gibbs_accuracy(oracle[2]))
    falling = [_accuracy(oracle, steps=steps) for steps in (1, 2, 5, 20, 300)]
    assert falling[0] == pytest.approx(best, abs=1e-6)
    assert all(later < earlier for earlier, later in pairwise(falling))
    assert gibbs < falling[-1] < gibbs + 0.4 * (best - gibbs)


@pytest.mark.parametrize(
    ("sampler", "to_one", "steps"),
    [(GIBBS, ArgMax(), 40), (ANCESTRAL, Softmax(1.0), 150), (DDIM, Softmax(1.0), 60)],
    ids=["gibbs", "ancestral softmax", "ddim softmax"],
)
def test_posterior_samplers_reach_the_gibbs_value(oracle, sampler, to_one, steps: int) -> None:
    """A draw from p(k | x) is right with probability E sum p^2."""
    expected = float(gibbs_accuracy(oracle[2]))
    assert _accuracy(oracle, sampler, to_one, steps=steps) == pytest.approx(expected, abs=0.012)


def test_gibbs_ends_at_a_draw_from_the_posterior(exact) -> None:
    """The samplers' answers have the frequencies of p(k | x), not only its accuracy."""
    posterior, chains = torch.tensor([0.5, 0.3, 0.15, 0.05]), 20000
    model = exact(4, LabelAccuracySchedule(LabelAccuracyConfig(), 4))
    last = _run(model, posterior.log().view(1, 1, 4), GIBBS, steps=20, chains=chains)[-1]
    shares = torch.bincount(last.clean.ids.flatten(), minlength=4) / chains
    error = (posterior * (1 - posterior) / chains).sqrt()
    assert ((shares - posterior).abs() < 4 * error).all()


def test_guidance_brings_the_loop_back_to_the_best(oracle) -> None:
    best = float(oracle[2].amax(-1).mean())
    rising = [_accuracy(oracle, steps=20, guidance=w) for w in (1.0, 2.0, 5.0)]
    assert rising[0] < rising[1] < rising[2] <= best
    assert best - rising[0] > 0.03
    assert best - rising[2] < 0.006


def test_guidance_multiplies_the_log_odds_and_keeps_the_evidence(oracle) -> None:
    model, condition = oracle[0], oracle[1][:50]
    plain, guided = (
        _run(model, condition, steps=2, guidance=w, keep_y_t=True)[1] for w in (1.0, 3.0)
    )
    log_likelihood_scale = plain.logits - condition.unsqueeze(1)
    same = (plain.y_t == guided.y_t).all(-1)
    assert same.any()
    uniform = torch.full_like(condition, -math.log(10)).unsqueeze(1)
    expected = 3 * (condition.unsqueeze(1) - uniform) + uniform + log_likelihood_scale
    difference = (guided.logits - expected)[same]
    flat = difference - difference.mean(-1, keepdim=True)
    torch.testing.assert_close(flat, torch.zeros_like(flat), atol=2e-3, rtol=0)


def test_scale_zero_ignores_the_image(oracle) -> None:
    model, condition, _ = oracle
    first = _run(model, condition[:20], steps=1, guidance=0.0, keep_y_t=True)[0]
    torch.testing.assert_close(first.logits, torch.zeros_like(first.logits), atol=1e-5, rtol=0)


def test_starting_from_zero_is_the_classifier_itself(oracle) -> None:
    model, condition, _ = oracle
    first = _run(model, condition, steps=1, start="zero")[0]
    torch.testing.assert_close(first.logits, condition.unsqueeze(1))
    assert not first.y_t.any()


# Bookkeeping.


def test_the_last_prediction_is_not_noised_once_more(
    oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draw that nobody reads would move the stream of whatever is drawn next."""
    model, condition, _ = oracle
    reached: list[float] = []
    step = Renoise.step

    def counted(self, chain, now, logits, clean, s, done):
        reached.append(float(s))
        return step(self, chain, now, logits, clean, s, done)

    monkeypatch.setattr(Renoise, "step", counted)
    _run(model, condition[:2], steps=4)
    assert reached == [0.75, 0.5, 0.25]


def test_steps_are_numbered_and_timed(oracle) -> None:
    model, condition, _ = oracle
    steps = _run(model, condition[:4], steps=5, chains=3)
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert [step.t for step in steps] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert all(step.logits.shape == (4, 3, 1, 10) for step in steps)
    assert all(step.clean.ids.shape == (4, 3, 1) for step in steps)
    assert not any(step.exited.any() for step in steps)


@pytest.mark.parametrize("sampler", [RENOISE, ANCESTRAL, DDIM, GIBBS])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_seed_decides_the_chain(oracle, sampler, guidance: float) -> None:
    model, condition, _ = oracle
    one, again, other = (
        _run(model, condition[:50], sampler, steps=4, chains=2, guidance=guidance, seed=seed)[-1]
        for seed in (3, 3, 4)
    )
    assert torch.equal(one.logits, again.logits)
    assert not torch.equal(one.logits, other.logits)


def test_chains_of_one_image_are_independent(exact) -> None:
    model, condition = exact(2, _constant_m(1.0)), torch.zeros(5000, 1, 2)
    answers = _run(model, condition, steps=3, chains=2)[-1].logits.argmax(-1).squeeze(-1).double()
    assert abs(float(answers.T.corrcoef()[0, 1])) < 4 / math.sqrt(5000)


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("sampler", [RENOISE, ANCESTRAL])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_early_exit_freezes_settled_images_and_changes_no_other(
    oracle, patience: int, sampler, guidance: float
) -> None:
    model, condition, _ = oracle
    options = {"steps": 8, "chains": 2, "guidance": guidance}
    whole = _run(model, condition[:200], sampler, **options)
    short = _run(model, condition[:200], sampler, early_exit=patience, **options)
    before: ChainStep | None = None
    for step, plain in zip(short, whole, strict=False):
        stays = ~step.exited
        torch.testing.assert_close(step.logits[stays], plain.logits[stays])
        if before is not None:
            assert torch.equal(step.logits[step.exited], before.logits[step.exited])
            assert not (before.exited & stays).any()
        before = step
    expected = torch.tensor([_first_settled(whole, image, patience) for image in range(200)])
    assert torch.equal(Last().read(short).steps, expected)
    assert len(short) == int(expected.max())


def _first_settled(steps: list[ChainStep], image: int, patience: int) -> int:
    """After how many steps all answers of an image had stood for `patience` steps."""
    answers = [tuple(step.logits[image].argmax(-1).flatten().tolist()) for step in steps]
    for end in range(patience, len(answers) + 1):
        if len(set(answers[end - patience : end])) == 1:
            return end
    return len(answers)


def test_a_shuffled_state_belongs_to_another_image(exact) -> None:
    """Ten sure images of ten classes, next to no noise: y_t names the image that it grew from."""
    model = exact(10, lambda t: torch.where(t == 1, 0.0, 0.9999))
    condition = (50 * torch.eye(10)).log_softmax(-1).unsqueeze(1)
    own = torch.arange(10)
    for shuffled in (False, True):
        first, second = _run(model, condition, steps=2, shuffled=shuffled, keep_y_t=True)
        assert torch.equal(first.clean.ids.flatten(), own)
        named = second.y_t.argmax(-1).flatten()
        assert torch.equal(named.sort().values, own)
        assert torch.equal(named, own) is not shuffled


def test_tokens_of_one_image_have_noise_of_their_own(exact) -> None:
    model = exact(3, _constant_m(1.0), num_tokens=4)
    steps = _run(model, torch.zeros(2, 4, 3), steps=2, chains=5, keep_y_t=True)
    assert steps[1].y_t.shape == (2, 5, 4, 3)
    assert len(steps[1].y_t.flatten().unique()) == 2 * 5 * 4 * 3


# The network's fast path: h drawn without y_t.


@pytest.fixture(params=["linear", "posterior"])
def network(request) -> LabelDiffusion:
    """K = 600, untrained: random weights make its logits depend on h."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classes, width = 600, 8
        embedding = {
            "linear": LinearEmbedding(classes, width, 2.0),
            "posterior": PosteriorEmbedding(classes, width, 2.0, spread=0.5, largest=16),
        }[request.param]
        conditioner = torch.nn.Identity()
        conditioner.width = 4
        model = LabelDiffusion(
            conditioner=conditioner,
            embedding=embedding,
            denoiser=MlpDenoiser(MlpConfig(width=width), 4),
            schedule=LabelAccuracySchedule(LabelAccuracyConfig(scale=2.0), classes),
            process=GaussianProcess(),
            loss=CrossEntropy(0.0),
            num_classes=classes,
        )
        for parameter in [*model.denoiser.parameters(), *model.output.parameters()]:
            torch.nn.init.normal_(parameter, std=0.4)
    return model.requires_grad_(False)


def test_holding_the_state_changes_no_distribution(network, ks) -> None:
    condition = torch.ones(1, 1, 4)
    fast, held = (
        _run(network, condition, to_one=Hold(), steps=4, chains=4000, keep_y_t=hold, seed=int(hold))
        for hold in (False, True)
    )
    assert fast[0].y_t is None
    assert held[0].y_t is not None
    # The first step is left out: at m = 0 the posterior's h is the same number for every y_t.
    directions = torch.randn(600, 3, generator=torch.Generator().manual_seed(1))
    for one, other in zip(fast[1:], held[1:], strict=True):
        pair = [(step.logits[0, :, 0] @ directions).T for step in (one, other)]
        assert max(ks(a, b) for a, b in zip(*pair, strict=True)) < 1


def test_a_held_state_is_read_as_it_is(network) -> None:
    """The logits of a held step are the network's at that y_t."""
    condition = torch.ones(2, 1, 4)
    for step in _run(network, condition, steps=3, chains=2, keep_y_t=True):
        t = torch.tensor(step.t).view(1, 1, 1)
        state = network.read(step.y_t, network.schedule.alpha_bar(t))
        expected = network(state, t, network.prepare(condition))
        torch.testing.assert_close(step.logits, expected, atol=1e-3, rtol=1e-4)
