"""Optimizer state on the disk: each process writes its share, any number of them can load it.

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
from torch import Tensor, distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from addkit.distributed.fsdp import cut
from addkit.errors import RunError


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

    Each process reads its share and sends nothing; no process group is needed.

    Args:
        folder: written by `save_shards`, with any number of processes.
        parameters: by name, sharded or whole.

    Raises:
        RunError: a file is missing or broken, or the state is of other parameters.
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
