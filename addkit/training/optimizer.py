"""AdamW with decay groups, its state as named tensors, and averaged weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from addkit.recipe import Training


def build_optimizer(network: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019). Matrices decay; biases, norms and tokens do not."""
    trained = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in trained if _decays(n, p)], "weight_decay": training.weight_decay},
        {"params": [p for n, p in trained if not _decays(n, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.peak_lr, betas=training.betas)


def _decays(name: str, parameter: Tensor) -> bool:
    """Position and class tokens of a ViT are (1, L, W): three axes, yet no matrices."""
    token = name.rsplit(".", 1)[-1] in {"pos_embed", "cls_token", "reg_token", "null", "position"}
    return parameter.ndim >= 2 and not token


def _names(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names in the order in which the optimizer numbers its parameters."""
    by_id = {id(p): name for name, p in network.named_parameters()}
    return [by_id[id(p)] for group in optimizer.param_groups for p in group["params"]]


def pack_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, `parameter name|state key` -> tensor."""
    names = _names(network, optimizer)
    state = optimizer.state_dict()["state"]
    return {
        f"{names[number]}|{key}": value
        for number, entries in state.items()
        for key, value in entries.items()
    }


def unpack_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `pack_optimizer`."""
    numbers = {name: number for number, name in enumerate(_names(network, optimizer))}
    parameters = dict(network.named_parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for packed, value in tensors.items():
        name, key = packed.split("|")
        state.setdefault(numbers[name], {})[key] = _laid_out(value, parameters[name])
    whole = optimizer.state_dict()
    optimizer.load_state_dict({**whole, "state": state})


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """The value in the parameter's memory layout, which a file does not keep."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights, with warm-up.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that a short run's average does not
    remember its random start. Buffers (batch-norm statistics) follow the network.
    """

    @torch.no_grad()
    def update(average: Iterable[Tensor], current: Iterable[Tensor], count: Tensor | int) -> None:
        warm = min(decay, (1 + int(count)) / (10 + int(count)))
        for kept, new in zip(average, current, strict=True):
            kept.lerp_(new, 1 - warm)

    return AveragedModel(network, multi_avg_fn=update)
