from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from addkit.diffusion import Clean
from addkit.processes.gaussian import GaussianProcess
from addkit.testing.fixed_inputs import network_of

FACTS = {"condition_width": 12, "num_condition_tokens": 1, "num_tokens": 1}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shaken(module: nn.Module) -> nn.Module:
    """Every weight away from zero, where new blocks start."""
    generator = _generator(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def _inputs(num_tokens: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """h (B, R, N, D), t (B, R, N) and the condition (B, 1, V)."""
    h = torch.randn(3, 4, num_tokens, 16, generator=_generator(1))
    t = torch.rand(3, 4, num_tokens, generator=_generator(2))
    return h, t, torch.randn(3, 1, 12, generator=_generator(3))


BOTH = [("mlp", {"depth": 2}), ("transformer", {"depth": 2, "heads": 4})]


@pytest.mark.parametrize(("name", "settings"), BOTH)
@pytest.mark.parametrize("time", [True, False])
def test_features_have_the_shape_of_the_state(build, name: str, settings, time: bool) -> None:
    denoiser = build("denoiser", name, FACTS, width=16, time=time, **settings)
    h, t, condition = _inputs()
    assert denoiser.uses_state
    assert not denoiser.bayes_skip
    assert denoiser.width == 16
    assert denoiser(h, t, denoiser.prepare(condition)).shape == h.shape


@pytest.mark.parametrize(("name", "settings"), BOTH)
def test_one_time_for_all_is_the_same_time_for_each(build, name: str, settings) -> None:
    denoiser = _shaken(build("denoiser", name, FACTS, width=16, **settings))
    h, _, condition = _inputs()
    prepared, one = denoiser.prepare(condition), torch.tensor([[[0.3]]])
    full = denoiser(h, one.expand(3, 4, 1), prepared)
    torch.testing.assert_close(denoiser(h, one, prepared), full, atol=1e-5, rtol=1e-5)
    other = denoiser(h, torch.tensor([[[0.31]]]), prepared)
    assert (other - full).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "settings"), BOTH)
def test_each_row_has_its_own_time_condition_and_state(build, name: str, settings) -> None:
    """All rows at once are the rows one by one."""
    denoiser = _shaken(build("denoiser", name, FACTS, width=16, **settings))
    h, t, condition = _inputs()
    together = denoiser(h, t, denoiser.prepare(condition))
    for image in range(3):
        prepared = denoiser.prepare(condition[image : image + 1])
        for copy in range(4):
            row = (slice(image, image + 1), slice(copy, copy + 1))
            torch.testing.assert_close(
                denoiser(h[row], t[row], prepared), together[row], atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize(("name", "settings"), BOTH)
def test_without_time_nothing_depends_on_it(build, name: str, settings) -> None:
    denoiser = _shaken(build("denoiser", name, FACTS, width=16, time=False, **settings))
    h, t, condition = _inputs()
    prepared = denoiser.prepare(condition)
    assert torch.equal(denoiser(h, t, prepared), denoiser(h, 0 * t, prepared))


@pytest.mark.parametrize(("name", "settings"), BOTH)
@pytest.mark.parametrize("time", [True, False])
def test_state_condition_and_every_weight_get_a_finite_gradient(
    build, name: str, settings, time: bool
) -> None:
    denoiser = _shaken(build("denoiser", name, FACTS, width=16, time=time, **settings)).train()
    h, t, condition = _inputs()
    h, condition = h.requires_grad_(), condition.requires_grad_()
    denoiser(h, t, denoiser.prepare(condition)).cos().sum().backward()
    for tensor in (h, condition, *denoiser.parameters()):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()


@pytest.mark.parametrize(("name", "settings"), BOTH)
def test_a_new_denoiser_already_depends_on_state_and_condition(build, name: str, settings) -> None:
    """adaLN-zero would keep the MLP's condition out at the start."""
    denoiser = build("denoiser", name, FACTS, width=16, **settings).eval()
    h, t, condition = _inputs()
    out = denoiser(h, t, denoiser.prepare(condition))
    assert (denoiser(-h, t, denoiser.prepare(condition)) - out).abs().max() > 1e-3
    if name == "mlp":
        assert (denoiser(h, t, denoiser.prepare(-condition)) - out).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "settings"), BOTH)
def test_dropout_acts_in_training_alone(build, name: str, settings) -> None:
    denoiser = _shaken(build("denoiser", name, FACTS, width=16, dropout=0.5, **settings))
    h, t, condition = _inputs()
    prepared = denoiser.prepare(condition)
    assert torch.equal(denoiser(h, t, prepared), denoiser(h, t, prepared))
    denoiser.train()
    with torch.random.fork_rng():
        assert not torch.equal(denoiser(h, t, prepared), denoiser(h, t, prepared))


def test_the_transformer_shares_its_width_among_heads(build) -> None:
    with pytest.raises(ValidationError, match=r"width \(20\) is no multiple of heads \(8\)"):
        build("denoiser", "transformer", FACTS, width=20)


# The linear denoiser.


def test_the_linear_denoiser_gives_the_condition_to_the_output_layer(build) -> None:
    denoiser = build("denoiser", "linear", FACTS)
    h, t, condition = _inputs()
    assert (denoiser.width, denoiser.uses_state, denoiser.bayes_skip) == (12, False, True)
    features = denoiser(h, t, denoiser.prepare(condition))
    assert torch.equal(features, condition.unsqueeze(1))
    assert not list(denoiser.parameters())


def test_the_linear_denoiser_multiplies_its_answer_by_the_likelihood_of_the_noisy_label(
    build,
) -> None:
    """p(k | c, y_t) = p(k | c) q(y_t | k) / sum_j p(j | c) q(y_t | j)."""
    denoiser = build("denoiser", "linear", {"condition_width": 16})
    model = network_of(GaussianProcess(), 5, 1, embedding=None, denoiser=denoiser)
    prepared = model.prepare(torch.randn(3, 1, 16, generator=_generator(1)))
    t = torch.full((1, 1, 1), 0.6)
    alpha_bar = model.schedule.alpha_bar(t)
    ids = torch.tensor([0, 3, 4]).view(3, 1, 1).expand(3, 4, 1)
    with torch.no_grad():
        state = model.corrupt(Clean(ids), alpha_bar, _generator(2))
        answer = model(state, t, prepared).log_softmax(-1)
        prior = model.outputs(model.features(state, t, prepared)).log_softmax(-1)
    assert state.y_t is not None
    means = model.schedule.scale * alpha_bar.sqrt() * torch.eye(5)  # (1, 5, 5)
    squares = (state.y_t.unsqueeze(-2) - means).square().sum(-1)  # (3, 4, 1, 5)
    exact = (prior - squares / (2 * (1 - alpha_bar))).log_softmax(-1)
    torch.testing.assert_close(answer, exact, atol=1e-4, rtol=1e-4)


# The control.


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_control_ignores_state_and_time(build, head: str) -> None:
    control = build("denoiser", "control", FACTS, head=head, width=16).eval()
    h, t, condition = _inputs()
    assert not control.uses_state
    assert control.width == (12 if head == "linear" else 16)
    features = control(h, t, control.prepare(condition))
    assert features.shape == (3, 1, 1, control.width)
    assert torch.equal(control(2 * h, 1 - t, control.prepare(condition)), features)
    for image in range(3):
        alone = control.prepare(condition[image : image + 1])[0]
        torch.testing.assert_close(alone, features[image : image + 1])


def test_the_linear_control_is_the_condition_itself(build) -> None:
    control = build("denoiser", "control", FACTS)
    condition = _inputs()[2]
    assert _count(control) == 0
    assert torch.equal(control.prepare(condition)[0], condition.unsqueeze(1))


def test_the_width_within_the_mlp_controls_blocks_can_be_chosen(build) -> None:
    four, same, more = (
        _count(build("denoiser", "control", FACTS, head="mlp", width=16, depth=3, **hidden))
        for hidden in ({}, {"hidden": 64}, {"hidden": 65})
    )
    assert four == same
    assert more - same == 3 * (2 * 16 + 1)


def test_the_mlp_control_gets_a_gradient(build) -> None:
    control = build("denoiser", "control", FACTS, head="mlp", width=16)
    h, t, condition = _inputs()
    control(h, t, control.prepare(condition)).cos().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in control.parameters())
