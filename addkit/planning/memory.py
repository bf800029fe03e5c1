"""Bytes that a training keeps on each process and sends, counted without memory or arithmetic.

PyTorch's fake process group answers every message at once, and fake tensors have sizes and no
memory, so one process of any number builds the very model that a cluster would train.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode

from addkit.diffusion import LabelDiffusion, State, counted_generator
from addkit.diffusion.objective import LARGEST
from addkit.distributed.blocks import EARLY, blocks_of
from addkit.errors import UsageError
from addkit.model import Network
from addkit.plugin.protocols import Embedding
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.training.named_optimizer import floats_per_weight
from addkit.training.plan import Plan

if TYPE_CHECKING:
    from torch._subclasses.fake_tensor import FakeTensorMode

FLOAT_BYTES = 4
FEW = 4
"""Images that are computed for real, and then twice as many, to extrapolate from."""
SMALL = 2**25
"""Bytes of weights up to which a forward pass of a few images takes less time than the import of
torch's compiler, which fake tensors need.
"""
WIDE = 3
"""K-wide tensors at a time: logits, their softmax, their gradient."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that each process sends, if messages go round in a ring."""

    gathered: int
    """Weights, in the forward and the backward pass of one micro-batch."""
    reduced: int
    """Gradients, once in a step."""

    def of_step(self, accumulation: int) -> int:
        """In one optimizer step of so many micro-batches."""
        return accumulation * self.gathered + self.reduced


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The bytes of process 0, which has no less than any other."""

    memory: dict[str, int]
    """Bytes by part."""
    traffic: Traffic


def estimate_memory(
    recipe: Recipe, facts: DataFacts, network: Network, plan: Plan
) -> MemoryEstimate:
    """Build what process 0 of `plan.processes` would train, and count its tensors.

    An estimate: allocators and kernels need more, and GPU kernels may keep other things.

    Args:
        recipe: the experiment.
        facts: of its data.
        network: on the meta device; used up.
        plan: batches and processes.

    Returns:
        memory: weights, averaged_weights, gradients and optimizer in fp32; activations, what
        autograd keeps of the trunk for one micro-batch; label_side, K-wide tensors and what the
        embedding's draws keep; communication, what is gathered for a while of what is spread.
    """
    micro = _MicroBatch(recipe, facts, plan.per_process_batch)
    labels = micro.label_side(network.diffusion)
    sharded = recipe.distributed.strategy == "fsdp" and plan.processes > 1
    gathered, whole = 0, _bytes(_trained(network))
    if sharded:
        # FSDP2 takes a second to import.
        from addkit.distributed.fsdp import policy_of, spread

        policy = policy_of(recipe.training.precision, "cuda")
        low = policy.param_dtype or torch.float32
        # A copy in the blocks' precision while they compute; their shares stay in fp32.
        computed = copy.deepcopy(network)
        for block in blocks_of(computed):
            block.to(low)
        activations = micro.activations(computed, fake=True)
        gathered = _gathered(network, low.itemsize)
        # FSDP2 itself, as on GPUs, between processes that do not exist.
        with fake_processes(plan.processes) as mesh, _Counter(plan.processes) as counter, _fake():
            step = _Step(network.to_empty(device="cpu").train(), micro)
            spread(step, network, mesh, policy)
            step().backward()
        traffic = Traffic(counter.bytes["gather"], counter.bytes["scatter"])
        gradients = _bytes(_trained(network))
        # Until its last micro-batch, a step's gradients are whole: they have not been sent.
        gradients += whole if plan.accumulation > 1 else 0
    else:
        # DDP's buckets are the gradients themselves.
        activations = micro.activations(network, fake=_bytes(network.parameters()) > SMALL)
        gradients = whole
        traffic = all_reduced(whole, plan.processes)
    weights = _bytes(network.parameters())
    memory = {
        "weights": weights,
        "averaged_weights": weights if recipe.training.ema else 0,
        "gradients": gradients,
        "optimizer": round(floats_per_weight(recipe.training) * _bytes(_trained(network))),
        "activations": activations,
        "label_side": labels,
        "communication": gathered,
    }
    return MemoryEstimate(memory, traffic)


def all_reduced(gradients: int, processes: int) -> Traffic:
    """A ring all-reduce, as DDP's: 2 (P - 1) / P of the gradients' bytes."""
    return Traffic(0, 2 * gradients * (processes - 1) // processes)


@contextmanager
def fake_processes(processes: int) -> Iterator[DeviceMesh]:
    """Be process 0 of so many, which do not exist. Raises `UsageError` if this PyTorch has no fake
    process group.
    """
    try:
        # Only PyTorch's own tests have it, nothing public does.
        from torch.testing._internal.distributed.fake_pg import FakeStore
    except ImportError as error:
        raise UsageError(
            f"PyTorch {torch.__version__} has no fake process group, so a dry run cannot spread a "
            "network over processes that do not exist; with "
            'distributed.strategy = "ddp" it can'
        ) from error
    store: Any = FakeStore
    distributed.init_process_group("fake", store=store(), rank=0, world_size=processes)
    try:
        yield init_device_mesh("cpu", (processes,))
    finally:
        distributed.destroy_process_group()


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts all-gathers and reduce-scatters: (P - 1) / P of the whole tensor's bytes each."""

    def __init__(self, processes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.processes = processes
        self.bytes = {"gather": 0, "scatter": 0}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func.namespace == "c10d":
            # The output comes first and then the input; the longer of them is the whole tensor.
            sizes = [x.numel() * x.element_size() for x in args[:2] if isinstance(x, Tensor)]
            for kind in self.bytes:
                if kind in func.name():
                    self.bytes[kind] += (
                        max(sizes, default=0) * (self.processes - 1) // self.processes
                    )
        return func(*args, **(kwargs or {}))


def _fake() -> FakeTensorMode:
    """Tensors with sizes and no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def _gathered(network: Network, itemsize: int) -> int:
    """Bytes of weights and gradients that are whole: of the blocks at work, and outside blocks."""
    blocks = list(blocks_of(network))
    early = sum(_count(block.parameters()) for block in blocks if hasattr(block, EARLY))
    largest = max((_count(block.parameters()) for block in blocks), default=0)
    inside = {id(p) for block in blocks for p in block.parameters()}
    outside = [p for p in network.parameters() if id(p) not in inside]
    rest = _bytes(outside) + _bytes(p for p in outside if p.requires_grad)
    # A block at work, the next on its way, the gradient of a third, and its sum in fp32.
    return rest + itemsize * (early + 3 * largest) + FLOAT_BYTES * largest


def _filled(module: Network | Embedding) -> nn.Module:
    """A module of the meta device on the CPU: normal values, and 0 for indices."""

    def filled(tensor: Tensor) -> Tensor:
        zeros = torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")
        return zeros.normal_() if tensor.is_floating_point() else zeros

    # `to_empty` would import torch's compiler.
    return cast("nn.Module", module)._apply(filled)  # type: ignore[no-untyped-call, no-any-return]


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.requires_grad]


def _count(tensors: Iterable[Tensor]) -> int:
    # Of a sharded tensor (DTensor) the own share alone lies in this process's memory.
    return sum(x.to_local().numel() if hasattr(x, "to_local") else x.numel() for x in tensors)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return FLOAT_BYTES * _count(tensors)


@dataclass(frozen=True, slots=True)
class _MicroBatch:
    """The images that run through a network at a time."""

    recipe: Recipe
    facts: DataFacts
    images: int

    def features(self, network: Network, images: int) -> Tensor:
        """The trunk's, as in training; (B, R, N, D)."""
        size = (self.facts.image_channels, self.facts.image_size, self.facts.image_size)
        shape = (images, self.recipe.training.reuse, self.facts.num_tokens)
        diffusion = network.diffusion
        h = torch.zeros(*shape, diffusion.denoiser.width, requires_grad=True)
        low = self.recipe.training.precision == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            prepared = diffusion.prepare(network.condition(torch.zeros(images, *size)))
            return diffusion.features(State(h), torch.zeros(shape), prepared)

    def activations(self, network: Network, *, fake: bool) -> int:
        """Bytes that autograd keeps between the forward and the backward pass of the trunk."""
        if fake:
            with _fake():
                return self._saved(network.to_empty(device="cpu").train(), self.images)
        _filled(network).train()
        few, more = (self._saved(network, n) for n in (FEW, 2 * FEW))
        return few + (more - few) * (self.images - FEW) // FEW

    def _saved(self, network: Network, images: int) -> int:
        """`activations` of so many images."""
        with _saved_tensors(network) as saved:
            handles = []
            if self.recipe.distributed.recompute_activations:
                # Autograd does not see what enters blocks that are computed again.
                handles = [
                    block.register_forward_pre_hook(saved.add_inputs)
                    for block in blocks_of(network)
                ]
            self.features(network, images)
        for handle in handles:
            handle.remove()
        return saved.bytes

    def label_side(self, diffusion: LabelDiffusion) -> int:
        """K-wide tensors of one chunk of rows, and what the embedding's draws keep."""
        wide = self.images * self.recipe.training.reuse * self.facts.num_tokens
        wide *= diffusion.num_classes
        if diffusion.needs_y_t:
            # Then y_t and its noise lie there as well, and the posterior.
            return FLOAT_BYTES * 2 * WIDE * wide
        drawn = 0
        if diffusion.embedding is not None:
            # Real draws of a few images, since fake ones would not branch as real ones do.
            few, more = (self._drawn(diffusion.embedding, n) for n in (FEW, 2 * FEW))
            drawn = few + (more - few) * (self.images - FEW) // FEW
        return FLOAT_BYTES * WIDE * min(wide, LARGEST) + drawn

    def _drawn(self, embedding: Embedding, images: int) -> int:
        """Bytes that a draw of so many images keeps for the backward pass."""
        real: Any = _filled(copy.deepcopy(embedding))
        generator = counted_generator(0, "dry run", images)
        shape = (images, self.recipe.training.reuse, self.facts.num_tokens)
        labels = torch.randint(self.facts.num_classes, shape, generator=generator)
        with _saved_tensors(real) as saved:
            real.draw(labels, torch.full(shape, 0.5), generator)
        return saved.bytes


class _Step(nn.Module):
    """One call with a gradient for each trained parameter."""

    def __init__(self, network: Network, micro: _MicroBatch) -> None:
        super().__init__()
        self.network, self.micro = network, micro

    def forward(self) -> Tensor:
        diffusion = self.network.diffusion
        # Every trained parameter once, so that each has a gradient to send.
        features = self.micro.features(self.network, self.micro.images)
        loss: Tensor = diffusion.output(features).float().mean()
        for part in (diffusion.embedding, diffusion.self_conditioning, diffusion.length_head):
            if isinstance(part, nn.Module):
                loss = loss + sum(p.sum() for p in part.parameters())
        return loss + diffusion.null_token.sum()


class _SavedTensors:
    """Storages that are kept for a backward pass, parameters aside."""

    def __init__(self, module: nn.Module) -> None:
        # By storage, not by tensor: autograd saves views, such as a weight's transpose.
        self.own = {self._storage(p) for p in module.parameters()}
        self.tensors: dict[int, Tensor] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Keep it; returns it."""
        if self._storage(tensor) not in self.own:
            self.tensors[self._storage(tensor)] = tensor
        return tensor

    def add_inputs(self, block: nn.Module, inputs: tuple[object, ...]) -> None:
        """A forward pre-hook that keeps a block's inputs."""
        for tensor in inputs:
            if isinstance(tensor, Tensor):
                self.add(tensor)

    @property
    def bytes(self) -> int:
        """The sum over whole storages: a view keeps all of the storage that it is a part of."""
        return sum(x.untyped_storage().nbytes() for x in self.tensors.values())

    @staticmethod
    def _storage(tensor: Tensor) -> int:
        return cast("int", tensor.untyped_storage()._cdata)


@contextmanager
def _saved_tensors(module: nn.Module) -> Iterator[_SavedTensors]:
    """Tensors that autograd saves within."""
    saved = _SavedTensors(module)
    with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
        yield saved
