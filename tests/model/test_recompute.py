"""Activations computed again in the backward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from addkit.diffusion import ObjectiveSettings, Targets, counted_generator, objective
from addkit.model import build_data, build_network
from addkit.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = (
    *("encoder.name=vit", "encoder.model=vit_tiny_patch16_224", "encoder.patch_size=16"),
    *("encoder.width=16", "encoder.depth=2", "encoder.heads=2", "denoiser.dropout=0.3"),
    *("denoiser.width=16", "denoiser.depth=2", "denoiser.heads=2"),
)


def _gradients(*, recompute: bool) -> tuple[dict[str, Tensor], int]:
    """Of one step, and the bytes that autograd kept for it."""
    torch.manual_seed(0)
    recipe = read_recipe(RECIPES / "attributes.toml", SMALL)
    facts = build_data(recipe).facts
    network = build_network(recipe, facts).train()
    if recompute:
        network.recompute_activations()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    generator = torch.Generator().manual_seed(1)
    images = torch.randn(8, 3, facts.image_size, facts.image_size, generator=generator)
    labels = torch.randint(facts.num_classes, (8, 4, facts.num_tokens), generator=generator)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        noise = counted_generator(0, "step", 0)
        tokens = network.tokens(images)
        value = objective(network.diffusion, tokens, Targets(labels), ObjectiveSettings(), noise)
    value.loss.backward()
    told = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return told, sum(kept.values())


def test_gradients_are_the_same_and_less_is_kept() -> None:
    (plain, much), (again, little) = (_gradients(recompute=flag) for flag in (False, True))
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-4)
    assert little < much / 2


@pytest.mark.parametrize("recompute", [True, False])
def test_the_recipe_says_so(recompute: bool) -> None:
    from addkit.planning.dry_run import dry_run

    flag = f"distributed.recompute_activations={str(recompute).lower()}"
    told = dry_run(read_recipe(RECIPES / "emoji.toml", [flag])).data()
    most = 0.85 if recompute else 1.01
    plain = dry_run(read_recipe(RECIPES / "emoji.toml")).data()
    assert told["memory"]["activations"] <= most * plain["memory"]["activations"]
