"""Optimizers by their names in timm, as far as a training can be resumed with them to the bit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from addkit.diffusion import counted_generator
from addkit.errors import RecipeError, guess
from addkit.recipe import Recipe, Training
from addkit.training.optimizer import build_optimizer, pack_optimizer, unpack_optimizer

BEFORE, AFTER = 4, 6
"""Steps of the trial before and after its state is stored."""


def check_optimizer(recipe: Recipe) -> None:
    """Raise `RecipeError` for an optimizer that timm lacks, that cannot be built here, that shares
    of weights cannot be trained with, or whose stored state does not continue to the same bits.
    """
    name = recipe.training.optimizer
    if name == "adamw":
        return
    import timm.optim

    timm_optim: Any = timm.optim
    names = timm_optim.list_optimizers()
    text = f'{recipe.source}: [training] optimizer "{name}"'
    if name not in names:
        near = guess(name, names)
        raise RecipeError(f"{text} is none of timm's{near}; such as adamw, sgd, lion, lamb")
    if recipe.distributed.strategy == "fsdp":
        raise RecipeError(
            f'{text}: distributed.strategy "fsdp" trains with adamw alone; set it to "ddp"'
        )
    if timm_optim.get_optimizer_info(name).second_order:
        raise RecipeError(f"{text} needs second derivatives, which are not computed")
    try:
        resumes = _resumes(recipe.training)
    # Whatever a third party's class raises: packages that are missing, and its own faults.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(f"{text} cannot be used: {reason[0]}") from error
    if not resumes:
        raise RecipeError(
            f"{text}: a training that is resumed with it would not end in the same bits, since its "
            "state cannot be stored; take another one, such as adamw, sgd, lion or lamb"
        )


class _Trial(nn.Module):
    """Weights of every rank, some of which decay."""

    def __init__(self) -> None:
        super().__init__()
        generator = counted_generator(0, "optimizer", 0)
        for rank, shape in enumerate([(), (5,), (6, 5), (4, 3, 2, 2)]):
            weight = torch.randn(shape, generator=generator)
            self.register_parameter(f"weight{rank}", nn.Parameter(weight))


def _resumes(training: Training) -> bool:
    """True if a trial that goes on from its stored state ends in the bits of one that did not."""
    straight, resumed = _Trial(), _Trial()
    optimizers = [build_optimizer(each, training) for each in (straight, resumed)]
    # Compiling some of them takes minutes.
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")
        for step in range(BEFORE):
            for network, optimizer in zip((straight, resumed), optimizers, strict=True):
                _step(network.parameters(), optimizer, step)
        state = pack_optimizer(resumed, optimizers[1])
        again = build_optimizer(resumed, training)
        unpack_optimizer(resumed, again, {name: x.clone() for name, x in state.items()})
        for step in range(BEFORE, BEFORE + AFTER):
            _step(straight.parameters(), optimizers[0], step)
            _step(resumed.parameters(), again, step)
    pairs = zip(straight.parameters(), resumed.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def _step(parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer, step: int) -> None:
    # As in a training, where the generator of dropout is seeded anew at every step.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step)
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()


def floats_per_weight(training: Training) -> float:
    """Numbers that the optimizer keeps for each number of a large matrix; 2 for AdamW."""
    if training.optimizer == "adamw":
        return 2
    network = nn.Linear(256, 256, bias=False)
    optimizer = build_optimizer(network, training)
    _step(network.parameters(), optimizer, 0)
    entries: list[Any] = [x for state in optimizer.state.values() for x in state.values()]
    count = sum(x.numel() for x in entries if isinstance(x, Tensor) and x.ndim)
    return count / network.weight.numel()
