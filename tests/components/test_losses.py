from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from addkit.diffusion import TimeSettings, corrupt, draw_times
from addkit.losses.asymmetric import Asymmetric
from addkit.losses.cross_entropy import CrossEntropy

SHAPE = (4, 3, 2)
CLASSES = 7


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, labels and alpha_bar."""
    outputs = 2 * torch.randn(*SHAPE, CLASSES, generator=_generator(0))
    labels = torch.randint(CLASSES, SHAPE, generator=_generator(1))
    return outputs, labels, torch.rand(SHAPE, generator=_generator(2))


def _by_hand(outputs: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    target = torch.full_like(outputs, smoothing / CLASSES)
    target += (1 - smoothing) * torch.eye(CLASSES)[labels]
    log_p = outputs - outputs.exp().sum(-1, keepdim=True).log()
    return -(target * log_p).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_the_negative_log_likelihood(build, smoothing: float) -> None:
    outputs, labels, alpha_bar = _batch()
    loss = build("loss", "ce", label_smoothing=smoothing)(outputs, labels, alpha_bar, None)
    torch.testing.assert_close(loss, _by_hand(outputs, labels, smoothing))


@pytest.mark.parametrize(("weights", "gamma"), [("none", 0.0), (0.5, 0.5), ("balanced", 1.0)])
@pytest.mark.parametrize("name", ["ce", "weighted-ce"])
def test_class_weights_multiply_the_loss_and_have_mean_1(
    build, name: str, weights: str | float, gamma: float
) -> None:
    outputs, labels, alpha_bar = _batch()
    counts = (1, 50, 0, 8, 8, 100, 3)
    settings = {"label_smoothing": 0.1, "class_weights": weights}
    loss = build("loss", name, {"class_counts": counts}, **settings)
    plain = build("loss", name, label_smoothing=0.1)(outputs, labels, alpha_bar, None)
    raw = torch.tensor([n**-gamma if n else 0.0 for n in counts])
    sizes = torch.tensor(counts)
    expected = raw * sizes.sum() / (raw * sizes).sum()
    if gamma == 0:
        expected = torch.ones(CLASSES)
    torch.testing.assert_close(loss(outputs, labels, alpha_bar, None), plain * expected[labels])
    # Outside a training no class is counted.
    unweighted = build("loss", name, **settings)(outputs, labels, alpha_bar, None)
    torch.testing.assert_close(unweighted, plain)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_cross_entropy_is_alpha_bar_times_it(build, smoothing: float) -> None:
    outputs, labels, alpha_bar = _batch()
    loss = build("loss", "weighted-ce", label_smoothing=smoothing)
    expected = alpha_bar * _by_hand(outputs, labels, smoothing)
    torch.testing.assert_close(loss(outputs, labels, alpha_bar, None), expected)
    one_level = loss(outputs, labels, alpha_bar[:1, :1, :1], None)
    torch.testing.assert_close(one_level, alpha_bar[0, 0, 0] * _by_hand(outputs, labels, smoothing))


@pytest.mark.parametrize("power", [1.0, 0.4])
@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid", "label-accuracy"])
def test_normalised_weights_have_mean_one_over_the_schedules_times(
    build, name: str, power: float
) -> None:
    from addkit.model.build import mean_alpha_bar

    schedule = build("schedule", name, {"num_classes": 10}, t_power=power)
    facts = {"mean_alpha_bar": mean_alpha_bar(schedule)}
    loss = build("loss", "weighted-ce", facts, normalise=True)
    t = draw_times((50000, 4, 1), _generator(), TimeSettings(power=power))
    alpha_bar = schedule.alpha_bar(t)
    flat = torch.zeros(*t.shape, 2)
    labels = torch.zeros(t.shape, dtype=torch.long)
    weights = loss(flat, labels, alpha_bar, None) / math.log(2)
    error = float(weights.std()) / math.sqrt(weights.numel())
    assert float(weights.mean()) == pytest.approx(1.0, abs=4 * error)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_rows_of_pure_noise_count_in_the_mean_weight(build, share: float) -> None:
    from addkit.model.build import mean_alpha_bar

    schedule = build("schedule", "cosine", {"num_classes": 10}, t_power=0.4)
    facts = {"mean_alpha_bar": mean_alpha_bar(schedule, share)}
    loss = build("loss", "weighted-ce", facts, normalise=True)
    t = draw_times((20000, 4, 1), _generator(), TimeSettings(power=0.4, pure_noise=share))
    labels = torch.zeros(t.shape, dtype=torch.long)
    weights = loss(torch.zeros(*t.shape, 2), labels, schedule.alpha_bar(t), None) / math.log(2)
    assert float(weights.mean()) == pytest.approx(1, abs=0.02)
    assert float(weights[t < 1].mean()) == pytest.approx(1 / (1 - share), abs=0.04)
    assert not weights[t == 1].round(decimals=4).any()


def test_plain_weights_are_not_normalised(build) -> None:
    facts = {"mean_alpha_bar": 0.25}
    assert build("loss", "weighted-ce", facts).mean_weight == 1.0
    assert build("loss", "weighted-ce", facts, normalise=True).mean_weight == 0.25


def test_mse_is_the_squared_distance_to_the_one_hot_label(build) -> None:
    outputs, labels, alpha_bar = _batch()
    loss = build("loss", "mse")(outputs, labels, alpha_bar, None)
    expected = (outputs - torch.eye(CLASSES)[labels]).square().sum(-1)
    torch.testing.assert_close(loss, expected)


def test_mse_reads_its_outputs_as_probabilities(build) -> None:
    estimate = torch.tensor([[[[0.7, 0.3, 0.0, -0.2]]]])
    logits = build("loss", "mse").logits(estimate, None, torch.ones(1, 1, 1))
    expected = torch.tensor([0.7, 0.3, 0.0, 0.0]).view(1, 1, 1, 4)
    torch.testing.assert_close(logits.softmax(-1), expected, atol=3e-6, rtol=0)


def test_mse_noise_is_the_mean_squared_distance_to_the_noise(build) -> None:
    outputs, labels, alpha_bar = _batch()
    noise = torch.randn(outputs.shape, generator=_generator(5))
    loss = build("loss", "mse-noise")
    expected = (outputs - noise).square().sum(-1) / CLASSES
    torch.testing.assert_close(loss(outputs, labels, alpha_bar, noise), expected)
    with pytest.raises(ValueError, match="needs the noise of y_t"):
        loss(outputs, labels, alpha_bar, None)
    with pytest.raises(ValueError, match="only with y_t"):
        loss.logits(outputs, None, alpha_bar)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("alpha_bar", [0.01, 0.5, 0.99])
def test_the_true_noise_gives_back_the_label(build, scale: float, alpha_bar: float) -> None:
    labels, level = _batch()[1], torch.full((1, 1, 1), alpha_bar)
    noisy = corrupt(labels, level, CLASSES, _generator(), scale)
    loss = build("loss", "mse-noise", {"scale": scale})
    assert not loss(noisy.noise, labels, level, noisy.noise).any()
    logits = loss.logits(noisy.noise, noisy.y_t, level)
    assert torch.equal(logits.argmax(-1), labels)
    expected = torch.eye(CLASSES)[labels]
    torch.testing.assert_close(logits.softmax(-1), expected, atol=2e-5, rtol=0)
    # The log of the label itself, whatever b is.
    torch.testing.assert_close(logits.exp(), expected, atol=2e-5, rtol=0)


def test_the_true_noise_is_finite_at_both_ends(build) -> None:
    loss, labels = build("loss", "mse-noise"), _batch()[1]
    for alpha_bar in (torch.zeros(1, 1, 1), torch.ones(1, 1, 1)):
        noisy = corrupt(labels, alpha_bar, CLASSES, _generator())
        assert loss.logits(noisy.noise, noisy.y_t, alpha_bar).isfinite().all()


@pytest.mark.parametrize("name", ["ce", "weighted-ce"])
def test_cross_entropies_read_their_outputs_as_logits(build, name: str) -> None:
    outputs, _, alpha_bar = _batch()
    assert build("loss", name).logits(outputs, None, alpha_bar) is outputs


@pytest.mark.parametrize(
    ("name", "predicts"),
    [("ce", "label"), ("weighted-ce", "label"), ("mse", "label"), ("mse-noise", "noise")],
)
def test_each_row_has_its_loss_in_single_precision(build, name: str, predicts: str) -> None:
    outputs, labels, alpha_bar = _batch()
    loss = build("loss", name)
    value = loss(outputs, labels, alpha_bar, torch.zeros_like(outputs))
    assert loss.predicts == predicts
    assert value.shape == SHAPE
    assert value.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        again = loss(outputs, labels, alpha_bar, torch.zeros_like(outputs))
    assert torch.equal(again, value)


def test_the_asymmetric_loss_is_binary_cross_entropy_without_focus() -> None:
    logits = torch.randn(2, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24).view(2, 3, 4) % 2
    alpha_bar = torch.zeros(1, 1, 1)
    plain = Asymmetric(0, 0, 0)(logits, labels, alpha_bar, None)
    wanted = CrossEntropy(0.0)(logits, labels, alpha_bar, None)
    torch.testing.assert_close(plain, wanted)
    # By hand: p = 0.3, absent, gamma- = 2, m = 0.1; and present, gamma+ = 1.
    p = torch.tensor(0.3)
    one = torch.stack([torch.log1p(-p), p.log()]).view(1, 1, 1, 2)
    focused = Asymmetric(1, 2, 0.1)
    for label, by_hand in ((0, -(0.2**2) * math.log(0.8)), (1, -0.7 * math.log(0.3))):
        loss = focused(one, torch.full((1, 1, 1), label), alpha_bar, None)
        assert float(loss) == pytest.approx(by_hand, rel=1e-5)
    # Extreme logits: finite, and so is the gradient.
    extreme = torch.tensor([[-200.0, 200.0], [200.0, -200.0]]).view(1, 1, 2, 2).requires_grad_()
    loss = Asymmetric(0.5, 0.5, 0.05)(extreme, torch.tensor([[[0, 1]]]), alpha_bar, None)
    loss.sum().backward()
    assert bool(loss.isfinite().all()) and bool(extreme.grad.isfinite().all())
