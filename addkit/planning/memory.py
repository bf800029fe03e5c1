"""Bytes that a training keeps on each process and sends, counted without memory or arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor

from addkit.diffusion import LabelDiffusion, State, counted_generator
from addkit.diffusion.chunked_loss import LARGEST
from addkit.distributed.fsdp import EARLY, blocks_of, policy_of, spread
from addkit.model import Network
from addkit.planning.communication import Traffic, Wire, all_reduced, pretended
from addkit.plugin.facts import DataFacts
from addkit.plugin.protocols import Embedding
from addkit.recipe import Recipe
from addkit.training.plan import Plan

FLOAT_BYTES = 4
FEW = 4
"""Images whose labels are drawn for real, and then twice as many."""
WIDE = 3
"""K-wide tensors at a time: logits, their softmax, their gradient."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of process 0, which has no less than any other."""

    memory: dict[str, int]
    """Bytes by part."""
    traffic: Traffic


def footprint(recipe: Recipe, facts: DataFacts, network: Network, plan: Plan) -> Footprint:
    """Build what process 0 of `plan.processes` would train, and look at it.

    An estimate: allocators and kernels need more, and GPU kernels may keep other things.

    Args:
        recipe: the experiment.
        facts: of its data.
        network: on the meta device; used up.
        plan: batches and processes.

    Returns:
        memory: weights, averaged_weights, gradients and optimizer in fp32; activations, what
        autograd keeps of the trunk for one micro-batch; label_side, K-wide tensors and what the
        embedding's draws keep; communication, what is whole for a while of what is spread.
    """
    micro = _MicroBatch(recipe, facts, plan.per_process_batch)
    labels = micro.label_side(network.diffusion)
    spreads = recipe.distributed.strategy == "fsdp" and plan.processes > 1
    states, activations, held, traffic = (_sharded if spreads else _whole)(micro, network, plan)
    parts = {"activations": activations, "label_side": labels, "communication": held}
    return Footprint({**states, **parts}, traffic)


Found = tuple[dict[str, int], int, int, Traffic]
"""Bytes of states, of activations and of what is whole for a while; traffic."""


def _fake() -> FakeTensorMode:
    """Tensors with sizes and no memory."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def _whole(micro: _MicroBatch, network: Network, plan: Plan) -> Found:
    """One process, or DDP, whose buckets are the gradients themselves."""
    with _fake():
        activations = micro.activations(network)
    trained = _bytes(_trained(network))
    traffic = all_reduced(trained, plan.processes)
    return _states(micro.recipe, network, trained), activations, 0, traffic


def _sharded(micro: _MicroBatch, network: Network, plan: Plan) -> Found:
    """FSDP2 itself, as on GPUs, between processes that are not there."""
    policy = policy_of(micro.recipe.training.precision, "cuda")
    low = policy.param_dtype or torch.float32
    gathered = copy.deepcopy(network)
    for block in blocks_of(gathered):
        block.to(low)
    with _fake():
        activations = micro.activations(gathered)
    held, whole = _held(network, low.itemsize), _bytes(_trained(network))
    with pretended(plan.processes) as mesh, Wire(plan.processes) as wire, _fake():
        step = _Step(network.to_empty(device="cpu").train(), micro)
        spread(step, network, mesh, policy)
        step().backward()
        gradients = _bytes(_trained(network))
        # Until its last micro-batch, a step's gradients are whole: they have not been sent.
        gradients += whole if plan.accumulation > 1 else 0
        states = _states(micro.recipe, network, gradients)
    return states, activations, held, wire.traffic


def _states(recipe: Recipe, network: Network, gradients: int) -> dict[str, int]:
    """What stays from step to step, and the gradients."""
    weights = _bytes(network.parameters())
    return {
        "weights": weights,
        "averaged_weights": weights if recipe.training.ema else 0,
        "gradients": gradients,
        "optimizer": 2 * _bytes(_trained(network)),
    }


def _held(network: Network, itemsize: int) -> int:
    """Weights and gradients of the blocks at work and of what belongs to none, which are whole."""
    blocks = list(blocks_of(network))
    early = sum(_count(block.parameters()) for block in blocks if hasattr(block, EARLY))
    largest = max((_count(block.parameters()) for block in blocks), default=0)
    inside = {id(p) for block in blocks for p in block.parameters()}
    outside = [p for p in network.parameters() if id(p) not in inside]
    rest = _bytes(outside) + _bytes(p for p in outside if p.requires_grad)
    # A block at work, the next on its way, the gradient of a third, and its sum.
    return rest + itemsize * (early + 3 * largest) + FLOAT_BYTES * largest


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.requires_grad]


def _count(tensors: Iterable[Tensor]) -> int:
    own = (x.to_local() if isinstance(x, DTensor) else x for x in tensors)
    return sum(x.numel() for x in own)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return FLOAT_BYTES * _count(tensors)


@dataclass(frozen=True, slots=True)
class _MicroBatch:
    """What runs through a network at a time."""

    recipe: Recipe
    facts: DataFacts
    images: int

    def features(self, network: Network) -> Tensor:
        """The trunk's, as in training; (B, R, N, D)."""
        size = (self.facts.image_channels, self.facts.image_size, self.facts.image_size)
        shape = (self.images, self.recipe.training.reuse, self.facts.num_tokens)
        diffusion = network.diffusion
        h = torch.empty(*shape, diffusion.denoiser.width, requires_grad=True)
        low = self.recipe.training.precision == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            prepared = diffusion.prepare(network.condition(torch.empty(self.images, *size)))
            return diffusion.features(State(h), torch.empty(shape), prepared)

    def activations(self, network: Network) -> int:
        """Bytes that autograd keeps between the forward and the backward pass of the trunk."""
        network.to_empty(device="cpu").train()
        with _keeping(network) as kept:
            if self.recipe.distributed.recompute_activations:
                with _entering(network, kept):
                    self.features(network)
            else:
                self.features(network)
        return kept.bytes

    def label_side(self, diffusion: LabelDiffusion) -> int:
        """K-wide tensors of one chunk of rows, and what the embedding's draws keep."""
        wide = self.images * self.recipe.training.reuse * self.facts.num_tokens
        wide *= diffusion.num_classes
        if diffusion.needs_y_t:  # Then y_t and its noise lie there as well, and the posterior.
            return FLOAT_BYTES * 2 * WIDE * wide
        drawn = 0 if diffusion.embedding is None else self._draws(diffusion.embedding)
        return FLOAT_BYTES * WIDE * min(wide, LARGEST) + drawn

    def _draws(self, embedding: Embedding) -> int:
        """Bytes that a draw keeps for the backward pass: of a few images for real, and onwards."""
        real = copy.deepcopy(embedding).to_empty(device="cpu")  # type: ignore[attr-defined]
        for tensor in (*real.parameters(), *real.buffers()):
            nn.init.normal_(tensor.data.zero_()) if tensor.is_floating_point() else tensor.zero_()
        few, more = (self._drawn(real, images) for images in (FEW, 2 * FEW))
        return few + (more - few) * (self.images - FEW) // FEW

    def _drawn(self, embedding: nn.Module, images: int) -> int:
        generator = counted_generator(0, "dry run", images)
        shape = (images, self.recipe.training.reuse, self.facts.num_tokens)
        labels = torch.randint(self.facts.num_classes, shape, generator=generator)
        with _keeping(embedding) as kept:
            embedding.draw(labels, torch.full(shape, 0.5), generator)  # type: ignore[operator]
        return kept.bytes


class _Step(nn.Module):
    """One call with a gradient for each trained parameter."""

    def __init__(self, network: Network, micro: _MicroBatch) -> None:
        super().__init__()
        self.network, self.micro = network, micro

    def forward(self) -> Tensor:
        diffusion = self.network.diffusion
        loss: Tensor = diffusion.output(self.micro.features(self.network)).float().mean()
        for part in (diffusion.embedding, diffusion.self_conditioning, diffusion.length_head):
            if isinstance(part, nn.Module):
                loss = loss + sum(p.sum() for p in part.parameters())
        return loss + diffusion.null_token.sum()


class _Kept:
    """Storages that somebody holds, parameters aside."""

    def __init__(self, module: nn.Module) -> None:
        self.own = {_storage(p) for p in module.parameters()}
        self.tensors: dict[int, Tensor] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Hold it; returns it."""
        if _storage(tensor) not in self.own:
            self.tensors[_storage(tensor)] = tensor
        return tensor

    @property
    def bytes(self) -> int:
        """Of whole storages: a view keeps all of what it looks at."""
        return sum(x.untyped_storage().nbytes() for x in self.tensors.values())


def _storage(tensor: Tensor) -> int:
    return cast("int", tensor.untyped_storage()._cdata)


@contextmanager
def _keeping(module: nn.Module) -> Iterator[_Kept]:
    """What autograd saves meanwhile."""
    kept = _Kept(module)
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        yield kept


@contextmanager
def _entering(network: Network, kept: _Kept) -> Iterator[None]:
    """And what enters blocks that are computed again, which autograd does not see."""

    def look(block: nn.Module, inputs: tuple[object, ...]) -> None:
        for tensor in inputs:
            if isinstance(tensor, Tensor):
                kept.add(tensor)

    handles = [block.register_forward_pre_hook(look) for block in blocks_of(network)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
