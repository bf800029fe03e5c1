"""Floating-point operations of a training step, and the peak of a GPU."""

from __future__ import annotations

import re
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from addkit.errors import UsageError
from addkit.model import build_network, build_task, problem_of
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.training.engine import LossModule
from addkit.training.features import in_last_stage
from addkit.training.plan import Plan

PEAKS: tuple[tuple[str, float, float | None], ...] = (
    # NVIDIA's data sheets (with sparsity they give twice the dense bf16 shown here): V100 (2020),
    # V100S (2020), A100 (2021), A10 (2021), H100 (2023), H200 (2024), L4 (2023), L40S (2023),
    # HGX B200 (2024, an eighth). V100 has no bf16.
    (r"V100-SXM2\b", 15.7, None),
    (r"V100-PCIE\b", 14.0, None),
    (r"V100S\b", 16.4, None),
    (r"A100\b", 19.5, 312.0),
    (r"A10$", 31.2, 125.0),
    (r"H100 80GB HBM3$", 67.0, 989.5),
    (r"H100 PCIe$", 51.0, 756.0),
    (r"H100 NVL$", 60.0, 835.5),
    (r"H200$", 67.0, 989.5),
    (r"H200 NVL$", 60.0, 835.5),
    (r"L4$", 30.3, 121.0),
    (r"L40S$", 91.6, 362.0),
    (r"B200$", 75.0, 2250.0),
    # NVIDIA's white papers of the architectures GA102 (2020), Ada (2022) and RTX Blackwell (2025);
    # bf16 summed up in fp32, as torch does.
    (r"RTX 3090$", 35.6, 71.0),
    (r"RTX 4090$", 82.6, 165.2),
    (r"RTX 5090$", 104.8, 209.5),
    # AMD's data sheet of the Instinct MI300X (2023).
    (r"MI300X\b", 163.4, 1307.4),
)
"""Name of a GPU as torch has it; dense fp32 (no TF32) and bf16, in 1e12 operations a second."""


def step_flops(recipe: Recipe, facts: DataFacts) -> int:
    """Operations for one image in a training step, forward and backward; a product and a sum are 2.

    Matrix products, convolutions and attention of the real step, traced at the recipe's
    micro-batch on tensors without memory. Each image attends to itself, so the count is linear in
    images; what a step computes once whatever their number, such as the factor of a linear
    embedding, is shared out. An encoder whose features are cached does not count, and one that is
    frozen at first counts as trained. Left out, as usual for MFU: element-wise work, the optimizer,
    what is computed again to save memory, and the first pass of self-conditioning, which a coin
    decides.
    """
    # Both import torch's compiler.
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    network = build_network(recipe, facts, device="meta")
    # No coin: the count must not depend on chance.
    network.diffusion.denoiser.self_condition = 0.0
    task = build_task(recipe, problem_of(recipe, facts))
    images = Plan.of(recipe, facts.split_sizes["train"]).per_process_batch
    # A fused backward pass of attention would count its own recomputation.
    with FakeTensorMode(allow_non_fake_inputs=True), sdpa_kernel(SDPBackend.MATH):
        network.to_empty(device="cpu")
        size = in_last_stage(recipe, facts, network)
        module = LossModule(network, task, recipe)
        labels = torch.zeros(images, recipe.training.reuse, facts.num_tokens, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            module(torch.zeros(images, *size), labels, torch.Generator()).total.backward()
    return int(counter.get_total_flops()) // images


def peak_flops(device: torch.device, precision: Literal["float32", "bfloat16"]) -> float | None:
    """Dense operations a second of a device at its peak; None if `PEAKS` lacks it.

    None, too, for a slice of a GPU (MIG).
    """
    if device.type != "cuda":
        return None
    return _peak(torch.cuda.get_device_name(device), precision)


def named_peak(name: str, precision: Literal["float32", "bfloat16"]) -> float:
    """`peak_flops` of a GPU by its name; raises `UsageError` if `PEAKS` lacks it."""
    peak = _peak(name, precision)
    if peak is None:
        known = ", ".join(pattern.removesuffix("$").removesuffix(r"\b") for pattern, *_ in PEAKS)
        raise UsageError(f'--gpu: no peak of "{name}" in {precision} is known; known: {known}')
    return peak


def _peak(name: str, precision: Literal["float32", "bfloat16"]) -> float | None:
    for pattern, full, low in PEAKS:
        if re.search(rf"\b{pattern}", name) and " MIG " not in name:
            tera = full if precision == "float32" else low
            return None if tera is None else tera * 1e12
    return None


def mfu(flops_per_image: float, images_per_second: float, peak: float) -> float:
    """Model FLOPs utilisation (Chowdhery et al. 2022), in percent.

    Args:
        flops_per_image: see `step_flops`.
        images_per_second: of all processes.
        peak: operations a second of all GPUs together.
    """
    return 100 * flops_per_image * images_per_second / peak
