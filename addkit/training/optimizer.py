"""AdamW, its learning rate and gradients, its state on the disk, and averaged weights (EMA)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel

from addkit.distributed.fsdp import cut_state, load_shards
from addkit.errors import RunError
from addkit.recipe import Training
from addkit.runs.checkpoint import load_tensors
from addkit.training.plan import Plan

NO_DECAY = frozenset({"pos_embed", "cls_token", "reg_token", "null_token", "position"})
"""Position and class tokens of a ViT are (1, L, W): three axes, yet no matrices."""


def build_optimizer(network: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019). Matrices decay; biases, norms and tokens do not."""
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and name.rsplit(".", 1)[-1] not in NO_DECAY
            (decayed if matrix else rest).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    # The rate is set anew at every step.
    return torch.optim.AdamW(groups, lr=training.peak_lr(256), betas=training.betas)


def learning_rate(step: int, plan: Plan, min_lr: float) -> float:
    """Linear warm-up to the peak, then half a cosine down to `min_lr` at the last step."""
    if step < plan.warmup_steps:
        # step + 1: the first step has a rate above 0.
        return plan.peak_lr * (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(plan.steps - plan.warmup_steps, 1)
    return min_lr + 0.5 * (plan.peak_lr - min_lr) * (1 + math.cos(math.pi * done))


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Global norm of all gradients, a scalar; of the whole tensors where each process has a share.

    `parameters` are those that may have gradients.
    """
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    # A sharded parameter's norm is a DTensor that lacks the sum over processes.
    whole = getattr(norm, "full_tensor", None)
    return norm if whole is None else whole()


def scale_and_clip(
    parameters: Sequence[nn.Parameter], norm: Tensor, factor: float, limit: float
) -> None:
    """Multiply all gradients by `factor`, then clip their global norm at `limit`; 0 clips nothing.

    Args:
        parameters: those that may have gradients.
        norm: of the gradients as they are.
        factor: 1 leaves them as they are.
        limit: largest norm.
    """
    # One kernel over all gradients, and none where all tokens count alike.
    if factor != 1.0:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], factor)
    if limit:
        clip_grads_with_norm_(parameters, limit, norm * factor)


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights, with warm-up.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that a short run's average does not
    remember its random start. Buffers (batch-norm statistics) follow the network.
    """

    @torch.no_grad()
    def update(average: Iterable[Tensor], current: Iterable[Tensor], count: Tensor | int) -> None:
        # n counts updates from 0.
        warm = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, new in zip(average, current, strict=True):
            mean.lerp_(new, 1 - warm)

    return AveragedModel(network, multi_avg_fn=update)


def _names(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names in the order in which the optimizer numbers its parameters."""
    by_id = {id(p): name for name, p in network.named_parameters()}
    return [by_id[id(p)] for group in optimizer.param_groups for p in group["params"]]


def pack_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, `parameter name|state key` -> tensor."""
    # By name, not by number: a resumed training may list its parameters in another order.
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
        like = parameters[name]
        if value.shape == like.shape:
            # A file keeps no memory layout (channels_last), and updates would round otherwise.
            value = torch.empty_like(like).copy_(value)
        state.setdefault(numbers[name], {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path
) -> None:
    """Load the optimizer's state from a checkpoint of any number of processes.

    It lies in the folder `optimizer/`, the shares of a sharded training, or whole in
    `optimizer.safetensors`. Raises `RunError` if a file is missing or broken, or of another
    network.

    Args:
        network: whole or sharded; the state is spread as its parameters are.
        optimizer: of the network.
        checkpoint: a folder.
    """
    parameters = dict(network.named_parameters())
    stored = checkpoint / "optimizer"
    if not stored.is_dir():
        stored = checkpoint / "optimizer.safetensors"
    try:
        if stored.is_dir():
            tensors = load_shards(stored, parameters)
        else:
            tensors = cut_state(load_tensors(stored), parameters)
        unpack_optimizer(network, optimizer, tensors)
    except (KeyError, ValueError) as error:
        raise RunError(f"{stored}: does not fit the run's recipe: {error}") from error
