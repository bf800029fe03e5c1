"""Builds the data set, the task and the network that a recipe describes."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from addkit.diffusion import LabelDiffusion, counted_seed
from addkit.errors import PluginError, RecipeError
from addkit.model.encoder_input import with_encoder_input
from addkit.model.network import Network
from addkit.plugin.protocols import DataSource, Schedule, Task, Tokenizer
from addkit.plugin.spec import Problem
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe

COPIES = 4
"""Of the weights in a training: themselves, their gradients and AdamW's two moments."""
NO_MACHINE = 2**46
"""Bytes that no machine has, 64 TiB: a plan, which takes no memory, is refused beyond it."""


def memory_here() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def fetch_weights(recipe: Recipe) -> None:
    """Download the pretrained weights that the recipe's components start from, unless they are
    here. Raises `RecipeError` if that fails.
    """
    for choice in recipe.choices.values():
        choice.config.fetch_weights()


def build_data(recipe: Recipe) -> DataSource:
    """Build the recipe's data set; reads no image."""
    data = with_encoder_input(recipe).choices["data"]
    problem = Problem(seed=recipe.seed, tokenizer=_tokenizer(recipe))
    source: DataSource = data.spec.create(data.config, problem)
    return source.augmented(recipe.augmentation)


def _tokenizer(recipe: Recipe) -> Tokenizer | None:
    choice = recipe.choices["tokenizer"]
    tokenizer: Tokenizer | None = choice.spec.create(choice.config, Problem(seed=recipe.seed))
    return tokenizer


def problem_of(recipe: Recipe, facts: DataFacts) -> Problem:
    """Facts of the data and of the recipe that components are built from."""
    return Problem(
        num_classes=facts.num_classes,
        image_size=facts.image_size,
        image_channels=facts.image_channels,
        class_names=facts.class_names,
        class_counts=facts.class_counts,
        columns=facts.columns,
        num_tokens=facts.num_tokens,
        token_names=facts.token_names,
        token_classes=facts.token_classes,
        combinations=facts.combinations,
        tag_shares=facts.tag_shares,
        tokenizer=_tokenizer(recipe),
        pad=facts.pad,
        unknown=facts.unknown,
        seed=recipe.seed,
    )


def build_task(recipe: Recipe, problem: Problem) -> Task:
    """Build the recipe's task."""
    choice = recipe.choices["task"]
    task: Task = choice.spec.create(choice.config, problem)
    return task


def build_network(recipe: Recipe, facts: DataFacts, device: str = "cpu") -> Network:
    """Build the recipe's network with its initial weights, which depend on the seed alone.

    Args:
        recipe: names the components.
        facts: of the data set.
        device: of the weights; `meta` builds without memory.
    """
    # The caller's random numbers do not depend on how many the initial weights take.
    with torch.random.fork_rng(devices=[]):
        builder = _Builder(recipe, facts)
        with torch.device(device), _Uninitialized() if device == "meta" else nullcontext():
            return builder.network()


class _Uninitialized(TorchFunctionMode):
    """Skips initial values, which the meta device has none of and imports torch's compiler for."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.normal_ or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class _Builder:
    """Builds kind by kind, in an order in which each finds the facts of those before it."""

    def __init__(self, recipe: Recipe, facts: DataFacts) -> None:
        self.recipe = recipe
        self.problem = problem_of(recipe, facts)
        self.bytes = 0
        schedule: Schedule = self.build("schedule")
        self.schedule = schedule
        # The first one, since the embedding and the loss are scaled to its noise.
        self.know(
            scale=schedule.scale,
            t_power=schedule.t_power,
            mean_alpha_bar=mean_alpha_bar(schedule, recipe.training.pure_noise),
        )

    def know(self, **facts: Any) -> None:
        """Add facts for the components that are built after this."""
        self.problem = self.problem.with_facts(**facts)

    def build(self, kind: str) -> Any:
        """Each kind starts from its own seed, so that a control's encoder starts as ADD's does."""
        torch.manual_seed(counted_seed(self.recipe.seed, f"initial {kind}"))
        choice = self.recipe.choices[kind]
        # Counted as they are registered, before their memory is used.
        counter = register_module_parameter_registration_hook(partial(self.count, kind))
        try:
            return choice.spec.create(choice.config, self.problem)
        finally:
            counter.remove()

    def count(self, kind: str, module: nn.Module, name: str, parameter: Tensor | None) -> None:
        """Raise `RecipeError` once the parameters are more than can be trained."""
        if parameter is None:
            return
        self.bytes += COPIES * parameter.numel() * parameter.element_size()
        most = NO_MACHINE if parameter.is_meta else memory_here()
        if self.bytes > most:
            raise RecipeError(
                f"{self.recipe.source}: [{kind}] training this network takes more than "
                f"{most / 2**30:,.0f} GiB, "
                f"{'beyond any machine' if parameter.is_meta else 'all memory of this machine'}; "
                "make it smaller"
            )

    def plugin_names(self) -> dict[str, str]:
        """By kind, name and package of each component that is not addkit's own."""
        return {
            kind: f'"{choice.name}" of {choice.plugin}'
            for kind, choice in self.recipe.choices.items()
            if choice.plugin
        }

    def refuse_many(self, num_tokens: int) -> None:
        """Raise `PluginError` if the conditioner breaks its promise of one token."""
        # The recipe's check chose the denoiser by the Spec, to which settings are unknown.
        choice = self.recipe.choices["conditioner"]
        if "one-token" in choice.spec.provides and num_tokens != 1:
            raise PluginError(
                f"the conditioner {self.plugin_names().get('conditioner', choice.name)} gives "
                f'{num_tokens} tokens with these settings, and its Spec provides "one-token"'
            )

    def network(self) -> Network:
        """Encoder, conditioner, denoiser, then what reads their sizes."""
        encoder = self.build("encoder")
        self.know(
            encoder_width=encoder.width,
            num_encoder_tokens=encoder.num_tokens,
            num_prefix_tokens=encoder.num_prefix_tokens,
        )
        conditioner = self.build("conditioner")
        self.refuse_many(conditioner.num_tokens)
        self.know(condition_width=conditioner.width, num_condition_tokens=conditioner.num_tokens)
        denoiser = self.build("denoiser")
        task: Task = self.build("task")
        self.know(state_width=denoiser.width)
        diffusion = LabelDiffusion(
            conditioner=conditioner,
            embedding=self.build("embedding") if denoiser.uses_state else None,
            denoiser=denoiser,
            schedule=self.schedule,
            times=self.build("timesteps"),
            loss=self.build("loss"),
            # The last one: what LabelDiffusion draws for itself (the null token) follows its seed.
            process=self.build("process"),
            num_classes=self.problem.num_classes,
            num_tokens=self.problem.num_tokens,
            token_classes=self.problem.token_classes,
            columns=self.problem.columns,
            predicts_length=task.predicts_length,
            plugin_names=self.plugin_names(),
        )
        frozen = getattr(self.recipe.choices["encoder"].config, "frozen", False)
        return Network(encoder, diffusion, frozen=frozen)


def mean_alpha_bar(schedule: Schedule, pure_noise: float = 0.0, points: int = 4096) -> float:
    """E_t[alpha_bar(t)] over training rows, a share of which sits at t = T, where it is 0."""
    u = (torch.arange(points) + 0.5) / points  # midpoints: a sum that converges as 1 / points^2
    mean = float(schedule.alpha_bar(u**schedule.t_power).mean())
    return mean * (1 - pure_noise) if pure_noise < 1 else mean
