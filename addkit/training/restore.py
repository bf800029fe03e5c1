"""An optimizer's state from a checkpoint of any number of processes, for any number of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from addkit.distributed.sharded_state import cut_state, load_shards
from addkit.errors import RunError
from addkit.runs.checkpoint import load_tensors
from addkit.training.optimizer import unpack_optimizer


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path
) -> None:
    """Load `optimizer/`, the shares of a sharded training, or `optimizer.safetensors`, all of it.

    Args:
        network: whole or sharded; the state is spread as its parameters are.
        optimizer: of the network.
        checkpoint: a folder.

    Raises:
        RunError: a file is missing or broken, or of another network.
    """
    parameters = dict(network.named_parameters())
    place = _stored(checkpoint)
    try:
        unpack_optimizer(network, optimizer, _read(place, parameters))
    except (KeyError, ValueError) as error:
        raise RunError(f"{place}: does not fit the run's recipe: {error}") from error


def _stored(checkpoint: Path) -> Path:
    shares = checkpoint / "optimizer"
    return shares if shares.is_dir() else checkpoint / "optimizer.safetensors"


def _read(place: Path, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if place.is_dir():
        return load_shards(place, parameters)
    return cut_state(load_tensors(place), parameters)
