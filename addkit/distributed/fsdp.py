"""Weights, gradients and optimizer state spread over processes (FSDP2), in memory and on disk.

Files are safetensors with each share's position in the whole tensor, as
torch.distributed.checkpoint writes them; nothing is pickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, Shard
from torch.optim.swa_utils import AveragedModel

from addkit.distributed.blocks import EARLY, blocks_of, lay_out
from addkit.errors import RunError
from addkit.model import Network


def shard(root: nn.Module, network: Network, mesh: DeviceMesh, *, precision: str) -> None:
    """Spread every parameter over the mesh: rows (dim 0), as `torch.chunk` cuts them.

    Where there are fewer rows than processes it is another dim, if one divides evenly. Each block
    of the encoder is gathered when it is called and let go behind it, and in the backward pass
    again. A denoiser's blocks that are read before they are called stay between. All else
    (embedding, output layer, null condition, parts without blocks) is read outside any block, so
    it is gathered as long as `root` runs. Optimizer and averaged weights must come after this.
    Buffers stay whole.

    With "bfloat16" on GPUs, blocks travel and lie there in bf16, and what runs between them stays
    as autocast makes it. All else is fp32, as are the sums of gradients.

    Args:
        root: the module that training calls, around the network. Its forward must return tensors,
            alone or in tuples, lists and dicts: FSDP2 searches nothing else for the loss. And
            on all processes it must give gradients to the same parameters.
        network: to be sharded.
        mesh: one axis, the processes.
        precision: `training.precision`.
    """
    spread(root, network, mesh, policy_of(precision, mesh.device_type))


def policy_of(precision: str, device: str) -> MixedPrecisionPolicy:
    """Precision of blocks while they are whole."""
    # Autocast on a CPU, unlike that on a GPU, has no norms in fp32 over weights in bf16.
    low = precision == "bfloat16" and device != "cpu"
    return MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if low else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # what runs between blocks stays as autocast makes it
    )


def spread(
    root: nn.Module, network: Network, mesh: DeviceMesh, policy: MixedPrecisionPolicy
) -> None:
    """`shard` with a policy for the blocks."""
    # The warning is about changes in place of what a part returned; no block makes any.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
    lay_out(network)

    def placement(parameter: nn.Parameter) -> Shard | None:
        # Too few rows would each be padded to one for every process, in messages too.
        if len(parameter) >= mesh.size():
            return None
        even = (dim for dim, size in enumerate(parameter.shape) if size % mesh.size() == 0)
        return Shard(next(even, 0))

    for block in blocks_of(network):
        # A block that `prepare` reads stays whole until it is called: one gather instead of two.
        early = hasattr(block, EARLY)
        fully_shard(
            block,
            mesh=mesh,
            mp_policy=policy,
            reshard_after_forward=not early,
            shard_placement_fn=placement,
        )
        if early:
            register_fsdp_forward_method(block, EARLY)
    # Last: it takes all parameters that no block has, which are read between the blocks.
    fully_shard(root, mesh=mesh, reshard_after_forward=False, shard_placement_fn=placement)


def last_of_step(root: nn.Module, last: bool) -> None:
    """Let the step's `last` backward pass, and no other, average gradients over processes.

    The gradient is then the mean over processes of their sums, as DDP's is.
    """
    cast("FSDPModule", root).set_requires_gradient_sync(last)


def average_shards(average: AveragedModel, network: nn.Module) -> None:
    """Cut averaged weights as the network's are, in place. They can be updated, but not called.

    Args:
        average: of the network before it was sharded.
        network: sharded.
    """
    parameters = dict(network.named_parameters())
    for name, mean in list(average.module.named_parameters()):
        owner, _, last = name.rpartition(".")
        part = nn.Parameter(cut(mean.detach(), parameters[name]), requires_grad=mean.requires_grad)
        setattr(average.module.get_submodule(owner), last, part)


def cut(tensor: Tensor, like: Tensor) -> Tensor:
    """The own share of a whole tensor, spread as `like` is; all of it where that is whole.

    Every process must have the same tensor; nothing is sent.
    """
    if not isinstance(like, DTensor):
        return tensor
    mesh, dim = like.device_mesh, cast("Shard", like.placements[0]).dim
    parts, rank = tensor.chunk(mesh.size(), dim), mesh.get_local_rank()
    # `chunk` gives fewer parts than processes where there are fewer rows; the last ones get none.
    own = parts[rank] if rank < len(parts) else tensor.narrow(dim, 0, 0)
    return DTensor.from_local(
        own.to(like.device).clone(memory_format=torch.contiguous_format),
        mesh,
        like.placements,
        run_check=False,
        shape=tensor.shape,
        stride=like.stride(),
    )


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor on every process, where each has a share."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors in host memory on process 0, gathered one by one; none on the others.

    Every process must call it with the same names in the same order.
    """
    gathered: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # One at a time: all of them together would not fit where sharding is needed.
        value = whole(tensor.detach())
        if torch.distributed.get_rank() == 0:
            gathered[name] = value.cpu()
    return gathered


@torch.no_grad()
def fill_shards(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy each process's share of whole tensors into a module's parameters and buffers.

    Args:
        module: sharded.
        tensors: by name, the same on every process, as in a safetensors file.

    Raises:
        KeyError: a tensor of the module is missing.
        ValueError: a tensor has another shape.
    """
    for name, target in module.state_dict().items():
        tensor = tensors[name]
        if tensor.shape != target.shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}, not {tuple(target.shape)}")
        target.copy_(cut(tensor, target))


@torch.no_grad()
def gather_into(plain: nn.Module, sharded: nn.Module) -> None:
    """Copy whole weights and buffers into a module of the same names that is not sharded.

    Each process can then call it alone, as an evaluation does.
    """
    targets = plain.state_dict()
    for name, tensor in sharded.state_dict().items():
        targets[name].copy_(whole(tensor))


def save_shards(folder: Path, tensors: Mapping[str, Tensor]) -> Callable[[], None]:
    """Copy to host memory now, and write `shard-R-...safetensors` in the background.

    Every process must call it, with the same names, and wait before it saves again.

    Args:
        folder: on a disk that all processes share; made where it is missing.
        tensors: by name; sharded ones, and whole ones that are the same everywhere.

    Returns:
        a function that waits until every process has written.

    Raises:
        RunError: by that function; such as where the disk is full.
    """
    # Its files are safetensors; the default writer's are pickles.
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    saving = async_save(dict(tensors), storage_writer=writer, process_group=_group())
    written = cast("Future[None]", saving)

    def wait() -> None:
        try:
            written.result()
        except CheckpointException as error:
            raise RunError(f"{folder}: cannot be written: {_reasons(error)}") from error

    return wait


@cache
def _group() -> distributed.ProcessGroup:
    """A group of its own: messages of a save in the background must not mix with training's."""
    return cast("distributed.ProcessGroup", distributed.new_group(backend="gloo"))


def _reasons(error: CheckpointException) -> str:
    """Each process's error, without the traceback."""
    return "; ".join(f"process {rank}: {what}" for rank, (what, _) in error.failures.items())


def load_shards(folder: Path, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An optimizer's state `PARAMETER|KEY`, each tensor spread as its parameter is now.

    Each process reads its share and sends nothing; no process group is needed. Raises `RunError` if
    a file is missing or broken, or the state is of other parameters.

    Args:
        folder: written by `save_shards`, with any number of processes.
        parameters: by name, sharded or whole.
    """
    reader = HuggingFaceStorageReader(str(folder))
    try:
        metadata = reader.read_metadata().state_dict_metadata
        stored = cast("dict[str, TensorStorageMetadata]", metadata)
        state: dict[str, Tensor] = {}
        for name, tensor in stored.items():
            # The metadata come from the files that exist, so a missing file shows here alone.
            if sum(chunk.sizes.numel() for chunk in tensor.chunks) != tensor.size.numel():
                raise ValueError(f"a share of {name} is missing")
            owner = name.split("|")[0]
            if owner not in parameters:
                raise ValueError(f"the network has no parameter {owner}")
            parameter = parameters[owner]
            if not tensor.size:
                # A scalar, such as the count of steps, is the same on every process.
                state[name] = torch.zeros((), dtype=tensor.properties.dtype)
            elif tensor.size == parameter.shape:
                # Sharded as its parameter is now, whatever number of processes wrote it.
                state[name] = torch.zeros_like(parameter, requires_grad=False)
            else:
                raise ValueError(f"{name} is {tuple(tensor.size)}, not {tuple(parameter.shape)}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            # `no_dist`: each process reads alone, also where it is the only one.
            load(state, storage_reader=reader, no_dist=True)
    except CheckpointException as error:
        raise RunError(f"{folder}: cannot be read: {_reasons(error)}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{folder}: cannot be read: {error}") from error
    return state


def cut_state(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole optimizer state `PARAMETER|KEY`, as one process or DDP writes it, cut for a sharding.

    Args:
        tensors: the same on every process.
        parameters: by name, sharded.
    """
    # Scalars, such as the count of steps, stay whole.
    return {
        packed: cut(value, parameters[packed.split("|")[0]]) if value.ndim else value
        for packed, value in tensors.items()
    }
