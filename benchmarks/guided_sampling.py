"""`guided-sampling`: cost of 20 guided steps relative to one encoder pass, batch 32.

ImageNet's recipe (ViT-B/16 at 224, K = 1,000) with random weights, once with the paper's components
and once with addkit's defaults. Encoder and chain are timed in turn.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from measure import RECIPES, Options, Row, Target, alternate, note

from addkit.model import Inference, build_data, build_network, problem_of
from addkit.recipe import read_recipe

STEPS = 20
GUIDANCE = 1.5


def rows(options: Options) -> Iterator[Row]:
    """(encoder + chain) / encoder."""
    for name in RECIPES:
        note(f"  {name}")
        yield _row(name, options)


def _row(name: str, options: Options) -> Row:
    recipe = read_recipe(RECIPES[name], _tiny() if options.quick else [])
    facts = build_data(recipe).facts
    network = build_network(recipe, facts).eval()
    inference = Inference.of(recipe, problem_of(recipe, facts)).replace(
        steps=STEPS, guidance=GUIDANCE, chains=1, early_exit=0, sampler="renoise", read_out="last"
    )
    generator = torch.Generator().manual_seed(0)
    batch = 2 if options.quick else 32
    images = torch.randn(batch, 3, facts.image_size, facts.image_size, generator=generator)
    with torch.inference_mode():
        condition = network.condition(images)
        pairs = alternate(
            lambda: network.condition(images),
            lambda: inference.answer(network.diffusion, condition, generator),
            seconds=0.0 if options.quick else 60.0,
            most=15,
        )
    return Row(
        name="guided-sampling",
        compares=f"{name}: (encoder + {STEPS} guided steps) / encoder",
        values=[(encoder + chain) / encoder for encoder, chain in pairs],
        target=Target(1.15),
    )


def _tiny() -> list[str]:
    return ["encoder.model=vit_tiny_patch16_224", "data.image_size=32"]
