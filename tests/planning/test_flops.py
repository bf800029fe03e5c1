from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from addkit.model import build_data, build_network, build_task, problem_of
from addkit.planning.flops import mfu, peak_flops, step_flops
from addkit.recipe import Recipe, read_recipe
from addkit.training.engine import LossModule

DIGITS = ("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1")
EMOJI = ("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=32", "denoiser.depth=1")
BLOCKS = "process.name=blocks"

GPU = torch.device("cuda")


def counted_in_memory(recipe: Recipe, images: int) -> int:
    """The same step with weights and images that are there."""
    facts = build_data(recipe).facts
    task = build_task(recipe, problem_of(recipe, facts))
    module = LossModule(build_network(recipe, facts), task, recipe)
    labels = torch.zeros(images, recipe.training.reuse, facts.num_tokens, dtype=torch.long)
    pixels = torch.rand(images, facts.image_channels, facts.image_size, facts.image_size)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(pixels, labels, torch.Generator()).total.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "overrides"),
    [("digits", DIGITS), ("emoji", EMOJI), ("emoji", (*EMOJI, BLOCKS))],
    ids=["one label", "captions", "blocks"],
)
def test_counted_without_memory_as_with_it(
    recipes: Path, name: str, overrides: tuple[str, ...]
) -> None:
    """Linear in images: three of them cost three times one of the recipe's micro-batch."""
    recipe = read_recipe(recipes / f"{name}.toml", overrides)
    facts = build_data(recipe).facts
    assert counted_in_memory(recipe, 3) == 3 * step_flops(recipe, facts)


def test_what_is_computed_once_is_shared_out(recipes: Path) -> None:
    """A step costs a B + c; c is the covariance of a linear embedding, the same for any batch B."""
    sizes = [*DIGITS, "embedding.name=linear"]
    sizes += ["denoiser.width=8", "denoiser.bayes_skip=false"]
    costs = []
    for batch in (2, 4, 8):
        change = f"distributed.per_process_batch={batch}"
        recipe = read_recipe(recipes / "digits.toml", [*sizes, change])
        costs.append(batch * step_flops(recipe, build_data(recipe).facts))
    assert costs[2] - costs[1] == 2 * (costs[1] - costs[0])
    assert 2 * costs[0] - costs[1] >= 2 * 10 * 8 * 8


def test_self_conditioning_is_counted_without_its_first_look(recipes: Path) -> None:
    plain, remembers = (
        read_recipe(recipes / "emoji.toml", [*EMOJI, f"denoiser.self_condition={share}"])
        for share in (0.0, 0.5)
    )
    facts = build_data(plain).facts
    assert step_flops(plain, facts) == step_flops(remembers, facts)


@pytest.mark.parametrize(
    ("name", "full", "low"),
    [
        ("Tesla V100-SXM2-32GB", 15.7e12, None),
        ("NVIDIA A100-SXM4-80GB", 19.5e12, 312e12),
        ("NVIDIA A100 80GB PCIe", 19.5e12, 312e12),
        ("NVIDIA A10", 31.2e12, 125e12),
        ("NVIDIA H100 80GB HBM3", 67e12, 989.5e12),
        ("NVIDIA H100 PCIe", 51e12, 756e12),
        ("NVIDIA H200", 67e12, 989.5e12),
        ("NVIDIA B200", 75e12, 2250e12),
        ("NVIDIA L4", 30.3e12, 121e12),
        ("NVIDIA L40S", 91.6e12, 362e12),
        ("NVIDIA GeForce RTX 4090", 82.6e12, 165.2e12),
        ("AMD Instinct MI300X", 163.4e12, 1307.4e12),
        # Others of a like name, and a slice.
        ("NVIDIA A10G", None, None),
        ("NVIDIA GH200 480GB", None, None),
        ("NVIDIA L40", None, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),
    ],
)
def test_peaks_of_known_gpus(
    monkeypatch: pytest.MonkeyPatch, name: str, full: float | None, low: float | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(GPU, "float32") == full
    assert peak_flops(GPU, "bfloat16") == low


def test_a_cpu_has_no_known_peak() -> None:
    assert peak_flops(torch.device("cpu"), "float32") is None


def test_mfu_is_the_share_of_the_peak() -> None:
    """A hundred images of 1e12 operations are a tenth of 1e15 a second."""
    assert mfu(1e12, 100, 1e15) == pytest.approx(10)
