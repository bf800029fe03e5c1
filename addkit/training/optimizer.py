"""The optimizer, its gradients, its state on the disk, and averaged weights (EMA)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel

from addkit.errors import RunError
from addkit.recipe import Recipe, Training
from addkit.runs.checkpoint import load_tensors
from addkit.training.plan import Plan

NO_DECAY = frozenset({"pos_embed", "cls_token", "reg_token", "null_token", "position"})
"""Position and class tokens of a ViT are (1, L, W): three axes, yet no matrices."""
NUMBERS = {"int": torch.int64, "float": torch.float64, "bool": torch.bool, "NoneType": torch.bool}
"""Types of state entries beside tensors, and how they are stored."""
Tensors = tuple[Tensor, ...] | list[Tensor]


def build_optimizer(
    network: nn.Module,
    training: Training,
    peak_lr: float | None = None,
    lr_scale: float = 1.0,
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), or timm's optimizer of another name. Matrices decay;
    biases, norms and tokens do not.

    The encoder's weights have groups of their own. Those that are frozen at first are among them:
    without gradients they stay as they are.

    Args:
        network: its parameters that need a gradient, now or later, are trained.
        training: the optimizer's name and settings. `betas` are used by those that have two, and
            the first of them is the momentum of those that have one.
        peak_lr: of the plan. Every step sets its own rate; a few optimizers decay by their ratio.
        lr_scale: share of the learning rate that the encoder gets.
    """
    later = getattr(network, "later", ()) if training.unfreeze_after else ()
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad or name in later:
            matrix = parameter.ndim >= 2 and name.rsplit(".", 1)[-1] not in NO_DECAY
            groups.setdefault((name.startswith("encoder."), matrix), []).append(parameter)
    listed = [
        {
            "params": parameters,
            "weight_decay": training.weight_decay if matrix else 0.0,
            "lr_scale": lr_scale if of_encoder else 1.0,
            "of_encoder": of_encoder,
        }
        for (of_encoder, matrix), parameters in groups.items()
    ]
    rate = training.peak_lr(256) if peak_lr is None else peak_lr
    if training.optimizer == "adamw":
        # One kernel for all of a group's tensors: a quarter of the time where they are small.
        return torch.optim.AdamW(listed, lr=rate, betas=training.betas, fused=True)
    import timm.optim

    timm_optim: Any = timm.optim
    info, betas = timm_optim.get_optimizer_info(training.optimizer), training.betas
    two = info.has_betas and info.num_betas == 2
    optimizer: torch.optim.Optimizer = timm_optim.create_optimizer_v2(
        listed,
        training.optimizer,
        lr=rate,
        momentum=betas[0],
        **({"betas": betas} if two else {}),
    )
    return optimizer


def encoder_lr_scale(recipe: Recipe) -> float:
    """The setting `encoder.lr_scale`; 1 for encoders without it."""
    scale: float = getattr(recipe.choices["encoder"].config, "lr_scale", 1.0)
    return scale


def encoder_warmup(step: int, plan: Plan) -> float:
    """Share of its learning rate that the encoder gets: it rises from its first step on.

    AdamW's moments of an encoder that was frozen are empty then, and its first steps would have
    full length, whatever the gradient.
    """
    if not plan.unfreeze_step:
        return 1.0
    return min(max(step + 1 - plan.unfreeze_step, 0) / max(plan.warmup_steps, 1), 1.0)


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
    def update(average: Tensors, current: Tensors, count: Tensor | int) -> None:
        # n counts updates from 0.
        warm = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(average, current, 1 - warm)

    return AveragedModel(network, multi_avg_fn=update)


def _names(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names in the order in which the optimizer numbers its parameters."""
    by_id = {id(p): name for name, p in network.named_parameters()}
    return [by_id[id(p)] for group in optimizer.param_groups for p in group["params"]]


def pack_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, `parameter name|state key` -> tensor.

    Numbers become tensors without axes, `parameter name|state key|type`. What a group counts, such
    as its steps, has `|group` at its end and the name of the group's first parameter. Raises
    `ValueError` for an entry of another type.
    """
    # By name, not by number: a resumed training may list its parameters in another order.
    names = _names(network, optimizer)
    entries: dict[str, Any] = {
        f"{names[number]}|{key}": value
        for number, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }
    by_id = {id(p): name for name, p in network.named_parameters()}
    for group in optimizer.param_groups:
        for key in group.keys() - {"params", "lr_scale", "of_encoder", *optimizer.defaults}:
            entries[f"{by_id[id(group['params'][0])]}|{key}|group"] = group[key]
    packed = {}
    for name, value in entries.items():
        if isinstance(value, Tensor):
            packed[name] = value
        elif type(value).__name__ in NUMBERS:
            kind = type(value).__name__
            packed[f"{name}|{kind}"] = torch.tensor(value or 0, dtype=NUMBERS[kind])
        else:
            raise ValueError(f"{name} is of type {type(value).__name__}")
    return packed


def unpack_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `pack_optimizer`."""
    names = _names(network, optimizer)
    numbers = {name: number for number, name in enumerate(names)}
    parameters = dict(network.named_parameters())
    state: dict[int, dict[str, Any]] = {}
    counts: list[tuple[Tensor, str, Any]] = []
    for packed, tensor in tensors.items():
        name, key, *kinds = packed.split("|")
        like, value = parameters[name], cast("Any", tensor)
        if kinds and kinds[-1] in NUMBERS:
            value = None if kinds[-1] == "NoneType" else tensor.item()
        elif tensor.shape == like.shape:
            # A file keeps no memory layout (channels_last), and updates would round otherwise.
            value = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        if "group" in kinds:
            counts.append((like, key, value))
        else:
            state.setdefault(numbers[name], {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    for owner, key, value in counts:
        group = next(g for g in optimizer.param_groups if any(p is owner for p in g["params"]))
        group[key] = value


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
    # FSDP2 takes a second to import.
    from addkit.distributed.fsdp import cut_state, load_shards

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
