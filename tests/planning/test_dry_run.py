"""What a training on a cluster would need, told by one process without one."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

from addkit.distributed.blocks import blocks_of
from addkit.errors import UsageError
from addkit.model import build_data, build_network
from addkit.planning.dry_run import dry_run
from addkit.planning.flops import step_flops
from addkit.planning.memory import Traffic, all_reduced, fake_processes
from addkit.recipe import Recipe, read_recipe

SMALL = (
    *("encoder.name=vit", "encoder.model=vit_tiny_patch16_224", "encoder.patch_size=16"),
    *("encoder.width=64", "encoder.depth=2", "encoder.heads=2", "control.heads=[]"),
    *("denoiser.width=64", "denoiser.depth=2", "denoiser.heads=2", "training.batch_size=64"),
)
FSDP = "distributed.strategy=fsdp"
BF16 = "training.precision=bfloat16"
PARTS = [
    *("weights", "averaged_weights", "gradients", "optimizer", "activations", "label_side"),
    *("communication", "total"),
]

Ask = Callable[..., dict[str, Any]]


def _recipe(recipes: Path, *changes: str) -> Recipe:
    return read_recipe(recipes / "attributes.toml", [*SMALL, *changes])


@pytest.fixture(scope="module")
def ask(recipes: Path) -> Ask:
    """A dry run of so many processes; the same one is made once."""
    known: dict[Any, dict[str, Any]] = {}

    def told(processes: int, *changes: str) -> dict[str, Any]:
        key = (processes, changes)
        if key not in known:
            known[key] = dry_run(_recipe(recipes, *changes), processes).data()
        return known[key]

    return told


def _padded(parameter: nn.Parameter, processes: int) -> int:
    """Numbers that are sent: rows are filled up to a multiple of the processes."""
    rows = len(parameter)
    if rows < processes and any(size % processes == 0 for size in parameter.shape):
        return parameter.numel()
    return math.ceil(rows / processes) * processes * (parameter.numel() // rows)


def _network(recipes: Path, *changes: str) -> Any:
    recipe = _recipe(recipes, *changes)
    return build_network(recipe, build_data(recipe).facts, device="meta")


@pytest.mark.parametrize("processes", [8, 64])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fsdp_sends_what_the_closed_form_says(
    ask: Ask, recipes: Path, processes: int, precision: str
) -> None:
    """Blocks are gathered twice, the rest once, and each gradient is scattered once, in fp32."""
    changes = (FSDP, f"training.precision={precision}")
    network = _network(recipes, *changes)
    inside = {id(p) for block in blocks_of(network) for p in block.parameters()}
    assert inside
    blocks = sum(_padded(p, processes) for p in network.parameters() if id(p) in inside)
    rest = sum(_padded(p, processes) for p in network.parameters() if id(p) not in inside)
    itemsize = 2 if precision == "bfloat16" else 4
    sent = ask(processes, *changes)["communication"]
    assert sent["weights"] * processes == (processes - 1) * (2 * itemsize * blocks + 4 * rest)
    assert sent["gradients"] * processes == (processes - 1) * 4 * (blocks + rest)
    assert sent["total"] == sent["weights"] + sent["gradients"]


@pytest.mark.parametrize("processes", [8, 64])
def test_ddp_sends_gradients_around_a_ring(ask: Ask, processes: int) -> None:
    told = ask(processes)
    assert told["communication"]["weights"] == 0
    wanted = 2 * (processes - 1) / processes * 4 * told["parameters"]["total"]
    assert told["communication"]["total"] == math.floor(wanted)
    seconds = told["communication"]["seconds"]
    assert list(seconds) == ["25 Gbit/s", "100 Gbit/s", "400 Gbit/s"]
    assert seconds["100 Gbit/s"] == pytest.approx(8 * told["communication"]["total"] / 100e9)


def test_one_process_sends_nothing(ask: Ask) -> None:
    for told in (ask(1), ask(1, FSDP)):
        assert told["communication"]["total"] == 0
        assert told["communication"]["strategy"] == "one process"
        assert told["memory"]["communication"] == 0
    assert ask(1)["memory"] == ask(1, FSDP)["memory"]


def test_shares_shrink_with_the_processes_and_copies_do_not(ask: Ask) -> None:
    states = ("weights", "averaged_weights", "gradients", "optimizer")
    whole = ask(1)["memory"]
    for processes in (8, 64):
        shared, copied = ask(processes, FSDP)["memory"], ask(processes)["memory"]
        for part in states:
            assert copied[part] == whole[part]
            # A little more than its share: what has few rows is not evenly cut.
            assert 1 <= shared[part] * processes / whole[part] < 1.15
        assert shared["communication"] > 0 == copied["communication"]
    assert whole["weights"] == 4 * ask(1)["parameters"]["total"]
    assert whole["optimizer"] == 2 * whole["gradients"]


def test_parts_add_up(ask: Ask) -> None:
    for told in (ask(1), ask(8), ask(8, FSDP)):
        assert list(told["memory"]) == PARTS
        assert told["memory"]["total"] == sum(told["memory"][part] for part in PARTS[:-1])


def test_accumulation_gathers_again_and_keeps_gradients_whole(ask: Ask) -> None:
    once, four = ask(8, FSDP), ask(8, FSDP, "distributed.per_process_batch=2")
    assert (once["accumulation"], four["accumulation"]) == (1, 4)
    assert four["communication"]["weights"] == 4 * once["communication"]["weights"]
    assert four["communication"]["gradients"] == once["communication"]["gradients"]
    trained = 4 * four["parameters"]["total"]
    assert four["memory"]["gradients"] == once["memory"]["gradients"] + trained
    assert ask(8, "distributed.per_process_batch=2")["communication"] == ask(8)["communication"]


def test_a_frozen_encoder_has_no_gradient_to_send(ask: Ask) -> None:
    frozen, trained = ask(8, FSDP, "encoder.frozen=true"), ask(8, FSDP)
    assert frozen["memory"]["weights"] == trained["memory"]["weights"]
    assert frozen["memory"]["gradients"] < trained["memory"]["gradients"]
    assert frozen["communication"]["gradients"] < trained["communication"]["gradients"]
    # Its blocks are gathered in the forward pass alone.
    assert frozen["communication"]["weights"] < trained["communication"]["weights"]
    assert frozen["memory"]["activations"] < trained["memory"]["activations"]


def test_activations_follow_batch_precision_and_recomputation(ask: Ask) -> None:
    plain = ask(1)["memory"]["activations"]
    half = ask(2)["memory"]["activations"]
    assert half == pytest.approx(plain / 2, rel=0.05)
    assert 0.4 * plain < ask(1, BF16)["memory"]["activations"] < 0.9 * plain
    again = ask(1, "distributed.recompute_activations=true")["memory"]["activations"]
    assert 0.02 * plain < again < 0.5 * plain


def test_activations_are_those_of_a_real_step(ask: Ask, recipes: Path) -> None:
    """Of the trunk on real tensors, in storages that autograd holds."""
    recipe = _recipe(recipes, "training.condition_drop=0")
    facts = build_data(recipe).facts
    network, images = build_network(recipe, facts).train(), recipe.training.batch_size
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    shape = (images, recipe.training.reuse, facts.num_tokens)
    h = torch.zeros(*shape, network.diffusion.denoiser.width, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        pixels = torch.zeros(images, facts.image_channels, facts.image_size, facts.image_size)
        prepared = network.diffusion.prepare(network.condition(pixels))
        network.diffusion.denoiser(h, torch.zeros(shape), prepared)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert ask(1)["memory"]["activations"] == pytest.approx(real, rel=0.02)


def test_the_label_side_is_bounded_by_a_chunk(recipes: Path) -> None:
    """Logits, softmax and gradient of at most 2**23 numbers, and what draws keep."""
    few, many = (
        dry_run(
            _recipe(recipes, f"training.batch_size={size}", "denoiser.bayes_skip=false"), 1
        ).data()
        for size in (64, 256)
    )
    assert few["memory"]["label_side"] < many["memory"]["label_side"]
    wide = 64 * 4 * few["tokens"] * few["classes"]
    assert few["memory"]["label_side"] >= 3 * 4 * min(wide, 2**23)


def test_time_is_told_where_a_speed_is_known(recipes: Path) -> None:
    recipe = _recipe(recipes)
    assert dry_run(recipe, 2).data()["time"] is None
    told = dry_run(recipe, 2, 100.0).data()
    assert told["time"]["source"] == "given"
    assert told["time"]["step_seconds"] == pytest.approx(32 / 100)
    assert told["time"]["epoch_seconds"] == pytest.approx(0.32 * told["steps_per_epoch"])
    assert told["time"]["seconds"] == pytest.approx(0.32 * told["steps"])


def test_speed_is_measured_if_asked(recipes: Path) -> None:
    time = dry_run(_recipe(recipes), 8, measure=True).data()["time"]
    assert time["images_per_second"] > 0
    assert time["source"] == "measured here: one process on cpu, 3 steps of 8 images"


def test_gpu_hours_are_operations_over_the_peak(recipes: Path) -> None:
    recipe = _recipe(recipes, BF16, "distributed.per_process_batch=8")
    plan = dry_run(recipe, 2, mfu=50, gpu="H200").data()
    operations = step_flops(recipe, build_data(recipe).facts) * 64 * plan["steps"]
    assert plan["time"]["gpu_hours"] == pytest.approx(operations / (0.5 * 989.5e12) / 3600)


@pytest.mark.parametrize(("gpu", "change"), [("GTX 1", BF16), ("V100-SXM2", BF16)])
def test_a_gpu_without_a_known_peak_is_refused(recipes: Path, gpu: str, change: str) -> None:
    with pytest.raises(UsageError, match=gpu):
        dry_run(_recipe(recipes, change), mfu=40, gpu=gpu)


def test_a_pretended_cluster_is_left_again() -> None:
    with fake_processes(64) as mesh:
        assert (mesh.size(), distributed.get_world_size(), distributed.get_rank()) == (64, 64, 0)
    assert not distributed.is_initialized()


def test_a_pytorch_without_fake_processes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.testing._internal.distributed.fake_pg", None)
    with (
        pytest.raises(UsageError, match=r'no fake process group.*strategy = "ddp" it can'),
        fake_processes(2),
    ):
        pass


def test_traffic_by_steps() -> None:
    assert Traffic(gathered=10, reduced=3).of_step(accumulation=4) == 43
    assert all_reduced(100, processes=1) == Traffic(0, 0)
    assert all_reduced(100, processes=4) == Traffic(0, 150)
