from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from addkit.diffusion import drop_condition
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin.values import Layout
from addkit.sampling import GuidedModel, guide
from addkit.sampling.guided import EarlyExit

from .networks import condition_of, generator, network


def _pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    conditional, unconditional = torch.randn(2, 3, 2, 1, 5, generator=generator)
    return conditional, unconditional


def test_scale_one_is_the_condition_and_zero_ignores_it() -> None:
    conditional, unconditional = _pair()
    assert torch.equal(guide(conditional, unconditional, 1.0), conditional)
    assert torch.equal(guide(conditional, unconditional, 0.0), unconditional)


@pytest.mark.parametrize("scale", [0.3, 1.5, 3.0, 10.0])
def test_guidance_is_linear_in_its_scale(scale: float) -> None:
    conditional, unconditional = _pair()
    expected = unconditional + scale * (conditional - unconditional)
    torch.testing.assert_close(guide(conditional, unconditional, scale), expected)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_drop_takes_its_share_of_whole_images(share: float) -> None:
    images = 20000
    condition, null = torch.ones(images, 3, 2), torch.tensor([-1.0, 7.0])
    dropped = drop_condition(condition, null, share, torch.Generator().manual_seed(1))
    gone = (dropped == null).all(-1)
    assert torch.equal(gone, gone[:, :1].expand(-1, 3))
    assert torch.equal(dropped[~gone[:, 0]], condition[~gone[:, 0]])
    error = math.sqrt(share * (1 - share) / images)
    assert abs(float(gone[:, 0].double().mean()) - share) <= 4 * error


def test_dropped_images_teach_the_null_condition() -> None:
    null = torch.zeros(2, requires_grad=True)
    drop_condition(torch.ones(8, 1, 2), null, 1.0, torch.Generator()).sum().backward()
    assert null.grad is not None
    assert null.grad.tolist() == [8.0, 8.0]


def test_sampling_has_the_null_condition_that_training_drops_to() -> None:
    model = network()
    dropped = drop_condition(condition_of(3), model.null_token, 1.0, generator())
    assert torch.equal(dropped, model.null_condition(2).expand_as(dropped))
    assert len(model.null_token.unique()) > 1


def test_share_zero_changes_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    before, condition = generator.get_state(), torch.ones(4, 1, 2)
    assert drop_condition(condition, torch.zeros(2), 0.0, generator) is condition
    assert torch.equal(generator.get_state(), before)


class Squares(CrossEntropy):
    """Logits that are no linear function of the outputs."""

    def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
        return outputs.square()


@pytest.mark.parametrize("loss", [CrossEntropy(0.0), Squares(0.0)])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.0, 2.5])
def test_a_guided_model_mixes_the_outputs_of_both_conditions_once(scale, skip, loss) -> None:
    model = network(bayes_skip=skip, loss=loss, scale=1.3)
    condition, t = condition_of(3), torch.full((1, 1, 1), 0.4)
    level = model.schedule.alpha_bar(t)
    state = model.read(torch.randn(3, 2, 4, 5, generator=generator()), level)
    null = model.null_condition(2).expand_as(condition)
    with_image, without = (model(state, t, model.prepare(c)) for c in (condition, null))
    expected = model.logits(without + scale * (with_image - without), state.y_t, level)
    output = GuidedModel.of(model, condition, scale)(state, t)
    torch.testing.assert_close(output.logits, expected)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_images_that_go_on_have_their_own_state_time_and_layout(scale: float) -> None:
    model = network(self_condition=0.5)
    guided = GuidedModel.of(model, condition_of(3), scale)
    # Image by image another time and another number of tokens.
    layout = Layout((torch.arange(4) < torch.tensor([[2], [3], [4]])).view(3, 1, 1, 4))
    first, second = (
        (model.read(torch.randn(3, 2, 4, 5, generator=generator(seed)), t), t)
        for seed, t in enumerate(torch.rand(2, 3, 1, 1, generator=generator(9)))
    )
    network_of_chains = EarlyExit(guided, 1, torch.device("cpu"))
    before = network_of_chains(*first, layout)
    features = network_of_chains.output.features
    network_of_chains.exited = torch.tensor([False, True, False])
    after = network_of_chains(*second, layout)
    whole = guided(*second, layout, features)
    assert torch.equal(after[1], before[1])
    torch.testing.assert_close(after[::2], whole.logits[::2])
    rows = guided.rows(torch.tensor([0, 2]))
    torch.testing.assert_close(network_of_chains.output.features[rows], whole.features[rows])
    stopped = guided.rows(torch.tensor([1]))
    assert torch.equal(network_of_chains.output.features[stopped], features[stopped])
