from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.denoisers.control import Control
from addkit.denoisers.mlp import MlpDenoiser
from addkit.denoisers.settings import ControlConfig, MlpConfig
from addkit.diffusion import (
    Clean,
    LabelDiffusion,
    NoisyBatch,
    ObjectiveSettings,
    Targets,
    objective,
)
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.losses.cross_entropy import CrossEntropy, WeightedCrossEntropy
from addkit.losses.mse import CleanMse, NoiseMse
from addkit.processes.gaussian import GaussianProcess
from addkit.schedules.closed_form import CosineSchedule
from addkit.schedules.settings import CosineConfig
from addkit.testing.exact_models import Levels

from .networks import condition_of, network

PLAIN = ObjectiveSettings(condition_drop=0.0)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _network(loss, embedding: str = "posterior", *, skip: bool = False, control: bool = False):
    """K = 600 classes, width 8, a condition of one token of width 4; no weight is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kinds = {
            "linear": LinearEmbedding(600, 8, 1.0),
            "posterior": PosteriorEmbedding(600, 8, 1.0, spread=0.5, largest=16),
        }
        conditioner = torch.nn.Identity()
        conditioner.width = 4
        model = LabelDiffusion(
            conditioner=conditioner,
            embedding=None if control else kinds[embedding],
            denoiser=Control(ControlConfig(), 4)
            if control
            else MlpDenoiser(MlpConfig(width=8, bayes_skip=skip), 4),
            schedule=CosineSchedule(CosineConfig()),
            process=GaussianProcess(),
            loss=loss,
            num_classes=600,
        )
        for parameter in [*model.denoiser.parameters(), *model.output.parameters()]:
            torch.nn.init.normal_(parameter, std=0.3)
        return model


def _value(model: LabelDiffusion, labels: Tensor, settings=PLAIN, seed: int = 0):
    tokens = torch.randn(len(labels), 1, model.null_token.shape[0], generator=_generator(9))
    return objective(model, tokens, Targets(labels), settings, _generator(seed))


def test_without_signal_the_loss_is_the_classifiers(exact) -> None:
    """alpha_bar = 0 always: -log p(label | x), whatever y_t is."""
    model = exact(5, torch.zeros_like)
    logits = torch.randn(32, 1, 5, generator=_generator(1))
    labels = torch.randint(5, (32, 3, 1), generator=_generator(2))
    value = objective(model, logits, Targets(labels), PLAIN, _generator())
    log_p = logits.log_softmax(-1).expand(-1, 3, -1)
    assert float(value.loss) == pytest.approx(float(-log_p.gather(-1, labels).mean()), rel=1e-5)
    right = logits.argmax(-1) == labels.squeeze(-1)
    assert float(value.accuracy) == pytest.approx(float(right.float().mean()))


def test_the_exact_denoiser_reaches_the_entropy_of_the_label(exact) -> None:
    """K = 2 and a flat prior: the loss is H(y | y_t), by quadrature."""
    level = 0.5
    labels = torch.randint(2, (20000, 1, 1), generator=_generator(3))
    tokens = torch.zeros(20000, 1, 2)
    model = exact(2, lambda t: torch.full_like(t, level))
    loss = float(objective(model, tokens, Targets(labels), PLAIN, _generator()).loss)
    z = torch.linspace(-9, 9, 20001, dtype=torch.double)
    m = math.sqrt(level / (1 - level))
    weight = (-0.5 * z.square()).exp() / math.sqrt(2 * math.pi)
    entropy = torch.nn.functional.softplus(-(m**2) - math.sqrt(2) * m * z) * weight
    assert loss == pytest.approx(float(torch.trapezoid(entropy, z)), abs=0.015)


def test_the_copies_of_an_image_may_have_different_labels(exact) -> None:
    model = exact(4, lambda t: torch.full_like(t, 0.9999))
    labels = torch.arange(4).view(1, 4, 1)
    assert float(_value(model, labels).accuracy) == 1.0


def test_dropping_every_condition_leaves_the_label_to_the_state(exact) -> None:
    """The null condition is the flat prior, so the loss is log K where nothing is known."""
    model = exact(5, torch.zeros_like)
    settings = ObjectiveSettings(condition_drop=1.0)
    value = _value(model, torch.zeros(8, 2, 1, dtype=torch.long), settings)
    assert float(value.loss) == pytest.approx(math.log(5), rel=1e-5)


def test_pure_noise_rows_hide_the_label(exact) -> None:
    """Where t < 1 the state tells the label; where t = 1 nothing does."""
    model = exact(600, lambda t: torch.where(t == 1, 0.0, 0.9999))
    labels = torch.zeros(500, 4, 1, dtype=torch.long)
    value = objective(
        model,
        torch.zeros(500, 1, 600),
        Targets(labels),
        ObjectiveSettings(condition_drop=0, pure_noise=0.25),
        _generator(),
    )
    assert float(value.loss) == pytest.approx(0.25 * math.log(600), rel=1e-3)
    # Ties of a flat prior go to class 0, the label.
    assert float(value.accuracy) == 1.0


@pytest.mark.parametrize("embedding", ["linear", "posterior"])
@pytest.mark.parametrize(
    ("loss", "skip"),
    [
        (CrossEntropy(0.1), False),
        (CrossEntropy(0.0), True),
        (WeightedCrossEntropy(0.0, 0.5), False),
        (CleanMse(), False),
        (NoiseMse(1.0), False),
    ],
    ids=["ce", "ce skip", "weighted-ce", "mse", "mse-noise"],
)
def test_every_weight_gets_a_finite_gradient(loss, skip: bool, embedding: str) -> None:
    model = _network(loss, embedding, skip=skip)
    labels = torch.randint(600, (16, 4, 1), generator=_generator())
    _value(model, labels, ObjectiveSettings(condition_drop=0.5)).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_control_is_scored_on_every_copy() -> None:
    model = _network(CrossEntropy(0.0), control=True)
    labels = torch.randint(600, (16, 4, 1), generator=_generator())
    value = _value(model, labels)
    value.loss.backward()
    tokens = torch.randn(16, 1, 4, generator=_generator(9))
    log_p = model.output(tokens).log_softmax(-1).expand(-1, 4, -1)
    torch.testing.assert_close(value.loss, -log_p.gather(-1, labels).mean())
    assert model.output.weight.grad.any()


def test_the_state_is_held_only_where_something_needs_it() -> None:
    alpha_bar, clean = torch.tensor([[[0.5]]]), Clean(torch.zeros(2, 3, 1, dtype=torch.long))
    lean = _network(CrossEntropy(0.0))
    assert lean.corrupt(clean, alpha_bar, _generator()).y_t is None
    assert lean.corrupt(clean, alpha_bar, _generator(), keep_y_t=True).y_t.shape == (2, 3, 1, 600)
    for model in (_network(CrossEntropy(0.0), skip=True), _network(NoiseMse(1.0))):
        model.schedule.scale = 1.7
        state = model.corrupt(clean, alpha_bar, _generator())
        torch.testing.assert_close(state.h, model.read(state.y_t, alpha_bar).h)
        signal = state.y_t - math.sqrt(0.5) * state.noise
        expected = 1.7 * math.sqrt(0.5) * clean.dense(600)
        torch.testing.assert_close(signal, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("embedding", ["linear", "posterior"])
@pytest.mark.parametrize("hold", [False, True])
def test_corruption_is_not_rounded_under_autocast(embedding: str, hold: bool) -> None:
    model = _network(CrossEntropy(0.0), embedding)
    clean, alpha_bar = Clean(torch.zeros(2, 3, 1, dtype=torch.long)), torch.tensor([[[0.5]]])
    plain = model.corrupt(clean, alpha_bar, _generator(), keep_y_t=hold)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.corrupt(clean, alpha_bar, _generator(), keep_y_t=hold)
        t = torch.tensor([[[0.5]]])
        outputs = model(rounded, t, model.prepare(torch.ones(2, 1, 4)))
    assert torch.equal(plain.h, rounded.h)
    assert outputs.dtype == torch.float32


@pytest.mark.parametrize("scale", [1.0, 1.7])
@pytest.mark.parametrize("skip", [False, True])
def test_bayes_skip_adds_the_evidence(skip: bool, scale: float) -> None:
    model = _network(CrossEntropy(0.0), skip=skip)
    model.schedule.scale = scale
    t = torch.tensor([[[0.3], [0.6]]])
    alpha_bar = model.schedule.alpha_bar(t)
    y_t = torch.randn(1, 2, 1, 600, generator=_generator())
    prepared = model.prepare(torch.ones(1, 1, 4))
    state = model.read(y_t, alpha_bar)
    features = model.output(model.denoiser(state.h, t, prepared))
    c_t = scale * alpha_bar.sqrt() / (1 - alpha_bar)
    expected = features + skip * c_t.unsqueeze(-1) * y_t
    torch.testing.assert_close(model(state, t, prepared), expected)


def test_a_new_network_predicts_the_flat_distribution() -> None:
    model = LabelDiffusion(
        conditioner=_network(CrossEntropy(0.0)).conditioner,
        embedding=LinearEmbedding(7, 8, 1.0),
        denoiser=MlpDenoiser(MlpConfig(width=8), 4),
        schedule=CosineSchedule(CosineConfig()),
        process=GaussianProcess(),
        loss=CrossEntropy(0.0),
        num_classes=7,
    )
    value = _value(model, torch.randint(7, (8, 2, 1), generator=_generator()))
    assert float(value.loss.detach()) == pytest.approx(math.log(7), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_sum_over_tokens_is_the_printed_text_loss(weighted: bool) -> None:
    """L_text of section 3.4 for N tokens: -sum over tokens of log p, a mean over rows."""
    tokens, classes = 3, 5
    model = network(None, num_classes=classes, num_tokens=tokens, spread=0.5)
    labels = torch.randint(classes, (4, 2, tokens), generator=_generator(1))
    weights = torch.tensor([1.0, 1.0, 0.5]).expand(labels.shape) if weighted else None
    condition = condition_of(4)

    def value(**more: bool) -> float:
        settings = ObjectiveSettings(condition_drop=0.0, **more)
        targets = Targets(labels, weights)
        return float(objective(model, condition, targets, settings, _generator()).loss.detach())

    # The mean divides by the weights of a row, the sum by nothing.
    row = 2.5 if weighted else 3.0
    assert value(sum_tokens=True) == pytest.approx(row * value(), rel=1e-5)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """For a share of self-conditioning and a seed: what each pass of an objective reads."""

    def call(share: float, seed: int, **settings: float) -> list[Any]:
        model, seen = network(self_condition=share), []
        features = model.features

        def spy(state, t, prepared, layout=None, previous=None) -> Tensor:
            found = features(state, t, prepared, layout, previous)
            seen.append((torch.is_grad_enabled(), previous, found))
            return found

        monkeypatch.setattr(model, "features", spy)
        labels = torch.zeros(2, 1, 4, dtype=torch.long)
        asked = replace(PLAIN, **settings)
        objective(model, condition_of(2), Targets(labels), asked, _generator(seed))
        return seen

    return call


def test_self_conditioning_reads_a_first_pass_without_gradients(looks) -> None:
    first, second = looks(1.0, 0)
    assert [first[0], second[0]] == [False, True]
    assert first[1] is None
    assert torch.equal(second[1], first[2])
    assert not second[1].requires_grad
    assert second[2].requires_grad


def test_a_roll_out_is_a_pass_without_gradients(looks) -> None:
    enabled = [one[0] for one in looks(0.0, 0, rollout=1.0)]
    assert enabled == [False, True]


def test_self_conditioning_reads_it_in_its_share_of_batches(looks) -> None:
    share, batches = 0.25, 60
    count = sum(len(looks(share, seed)) == 2 for seed in range(batches))
    assert abs(count - share * batches) < 4 * math.sqrt(share * (1 - share) * batches)


def test_times_follow_the_schedules_power_or_the_models_own_map() -> None:
    model, labels = network(), torch.zeros(3, 4, 4, dtype=torch.long)

    def times() -> Tensor:
        value = objective(model, condition_of(3), Targets(labels), PLAIN, _generator())
        assert value.timed is not None
        return value.timed.t

    model.schedule = Levels(lambda t: 1 - t)
    u = times()
    model.schedule = Levels(lambda t: 1 - t, t_power=2.0)
    torch.testing.assert_close(times(), u**2)
    model.timesteps = lambda u: 1 - u
    torch.testing.assert_close(times(), 1 - u)


class Given(GaussianProcess):
    """Gives one batch, whatever is asked for."""

    def __init__(self, batch: NoisyBatch) -> None:
        self.batch = batch

    def corrupt(self, targets, schedule, times, generator) -> NoisyBatch:
        return self.batch


def test_weights_norm_levels_and_times_are_those_of_the_process() -> None:
    shape = (2, 3, 4)
    labels = torch.randint(5, shape, generator=_generator(1))
    weights, t = torch.rand(2, *shape, generator=_generator(2))
    norm, target = torch.tensor(17.0), torch.full((1, 1, 1), 0.9)
    batch = NoisyBatch(
        labels, torch.zeros(1, 1, 1), t, weights, norm, sampled_t=t, target_alpha_bar=target
    )
    model = network(Given(batch), loss=WeightedCrossEntropy(0.0, 0.5))
    value = objective(model, condition_of(2), Targets(labels), PLAIN, _generator())
    # Every token is read as pure noise, and its loss is weighted by the target's level.
    hidden = model.corrupt(Clean(labels), torch.zeros(1, 1, 1), _generator())
    features = model.features(hidden, t, model.prepare(condition_of(2)))
    log_p = model.outputs(features).log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    losses = -log_p * 0.9 / 0.5
    torch.testing.assert_close(value.total, (losses * weights).sum())
    assert value.weight is norm
    timed = value.timed
    assert timed is not None
    torch.testing.assert_close(timed.t, t.flatten())
    torch.testing.assert_close(timed.losses, losses.flatten())
    torch.testing.assert_close(timed.drawn, weights.flatten())
    plain = replace(batch, norm=None)
    model = network(Given(plain), loss=WeightedCrossEntropy(0.0, 0.5))
    value = objective(model, condition_of(2), Targets(labels), PLAIN, _generator())
    torch.testing.assert_close(value.weight, weights.sum())
