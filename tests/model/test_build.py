from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from addkit.model import Inference, Network, build_data, build_network, problem_of
from addkit.model.predictor import fill
from addkit.recipe import Recipe, read_recipe
from addkit.training.control import control_recipe

Read = Callable[..., Recipe]


@pytest.fixture
def read(recipes: Path) -> Read:
    return lambda *overrides: read_recipe(recipes / "digits.toml", overrides)


def _network(recipe: Recipe, device: str = "cpu") -> Network:
    return build_network(recipe, build_data(recipe).facts, device)


def _control(recipe: Recipe, head: str) -> Recipe:
    return control_recipe(recipe, head, build_data(recipe).facts)


def _weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return network.state_dict()


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_the_seed_alone_decides_the_initial_weights(read: Read) -> None:
    before = torch.random.get_rng_state()
    first = _weights(_network(read()))
    torch.rand(7)
    assert _same(first, _weights(_network(read())))
    assert not _same(first, _weights(_network(read("seed=1"))))
    torch.random.set_rng_state(before)
    _network(read())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_controls_encoder_starts_as_adds_does(read: Read, head: str) -> None:
    recipe = read()
    add, control = _network(recipe), _network(_control(recipe, head))
    assert _same(_weights(add.encoder), _weights(control.encoder))
    assert control.diffusion.embedding is None


def test_one_component_does_not_move_anothers_start(read: Read) -> None:
    base = _network(read())
    other = _network(read("denoiser.depth=3", "embedding.name=linear", "encoder.dropout=0.1"))
    assert _same(_weights(base.encoder), _weights(other.encoder))
    assert _same(_weights(base.diffusion.conditioner), _weights(other.diffusion.conditioner))


def test_the_meta_device_needs_no_memory(read: Read) -> None:
    network = _network(read(), "meta")
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert network.parameter_counts() == _network(read()).parameter_counts()


def test_the_parts_sum_to_all_parameters(read: Read) -> None:
    for recipe in (read(), _control(read(), "mlp")):
        network = _network(recipe)
        counts = network.parameter_counts()
        assert counts.total == sum(p.numel() for p in network.parameters())
        assert counts.total == counts.encoder + counts.denoiser + counts.projections
    assert _network(_control(read(), "linear")).parameter_counts().denoiser == 0


def test_a_frozen_encoder_gets_no_gradient_and_keeps_its_statistics(read: Read) -> None:
    network = _network(read("encoder.frozen=true")).train()
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    tokens = network.tokens(torch.randn(4, 1, 8, 8))
    assert not tokens.requires_grad
    assert not network.encoder.training
    assert network.diffusion.training
    assert _same(before, network.encoder.state_dict())
    trained = _network(read()).train()
    assert trained.tokens(torch.randn(4, 1, 8, 8)).requires_grad
    assert trained.encoder.training


def test_components_know_the_facts(read: Read) -> None:
    recipe = read()
    facts = build_data(recipe).facts
    problem = problem_of(recipe, facts)
    assert (problem.num_classes, problem.num_tokens, problem.image_size) == (10, 1, 8)
    assert problem.class_names == tuple("0123456789")
    network = _network(recipe)
    tokens = network.tokens(torch.zeros(2, 1, 8, 8))
    assert tokens.shape == (2, network.encoder.num_tokens, network.encoder.width)
    assert network.condition(torch.zeros(2, 1, 8, 8)).shape == (2, 1, 64)


def test_the_weighted_loss_knows_its_mean_weight(read: Read) -> None:
    changes = ("loss.name=weighted-ce", "loss.normalise=true", "schedule.name=linear")
    weighted = read(*changes, "training.pure_noise=0")
    loss = _network(weighted).diffusion.loss
    schedule = _network(weighted).diffusion.schedule
    labels = torch.zeros(1, 4000, 1, dtype=torch.long)
    alpha_bar = schedule.alpha_bar(torch.linspace(0, 1, 4000)[None, :, None])
    value = loss(torch.zeros(1, 4000, 1, 10), labels, alpha_bar, None).mean()
    assert float(value) == pytest.approx(torch.tensor(10.0).log().item(), rel=2e-3)


def test_inference_takes_the_recipe_and_changes_what_is_asked(read: Read) -> None:
    recipe = read("sampling.steps=7", "to_one={name='sample', temperature=0.5}")
    inference = Inference.of(recipe, problem_of(recipe, build_data(recipe).facts))
    assert (inference.steps, inference.guidance, inference.chains) == (7, 1.0, 1)
    assert inference.one_pass
    assert inference.to_one_name == "sample"
    assert inference.replace() == inference
    assert inference.replace(steps=None, sampler=None) == inference
    changed = inference.replace(steps=3, read_out="mean", to_one="sample", sampler="gibbs")
    assert (changed.steps, changed.one_pass) == (3, False)
    # Another component keeps the recipe's settings that it has too.
    assert changed.to_one.config.temperature == 0.5
    assert inference.replace(to_one="softmax").to_one.config.temperature == 0.5


def test_a_sampler_that_draws_needs_no_to_one(read: Read) -> None:
    recipe = read("sampler.name=gibbs")
    inference = Inference.of(recipe, problem_of(recipe, build_data(recipe).facts))
    assert inference.to_one.name == "argmax"
    assert inference.to_one_name == "sample"
    assert inference.replace(sampler="renoise").to_one_name == "argmax"


def test_weights_of_an_older_addkit_are_read_under_their_new_names(tmp_path: Path) -> None:
    old = {"diffusion.null": 1, "diffusion.memory.weight": 2, "diffusion.memory.bias": 3}
    network = torch.nn.Module()
    network.diffusion = torch.nn.Module()
    network.diffusion.null_token = torch.nn.Parameter(torch.zeros(1))
    network.diffusion.self_conditioning = torch.nn.Linear(1, 1)
    fill(
        network,
        {k: torch.full((1,) * (1 + ("weight" in k)), float(v)) for k, v in old.items()},
        tmp_path / "ema.safetensors",
    )
    assert [float(p.detach()) for p in network.parameters()] == [1, 2, 3]
