"""How answers are made: a sampler, a to-one operator, a read-out and their numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from addkit.diffusion import Answer, ChainSettings, ChainStep, LabelDiffusion, chain
from addkit.errors import UsageError
from addkit.plugin import Choice, load_registry
from addkit.plugin.protocols import ReadOut, Sampler, ToOne
from addkit.plugin.spec import Problem
from addkit.recipe import Recipe

__all__ = ["Inference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A way to answer. `of` takes the recipe's; `but` changes what a user asks to change."""

    sampler: Choice
    to_one: Choice
    read_out: Choice
    problem: Problem
    steps: int
    guidance: float
    chains: int
    early_exit: int
    shuffled: bool = False

    @classmethod
    def of(cls, recipe: Recipe, problem: Problem) -> Inference:
        """The recipe's own way."""
        sampling = recipe.sampling
        return cls(
            sampler=recipe.choices["sampler"],
            to_one=recipe.choices["to_one"],
            read_out=recipe.choices["read_out"],
            problem=problem,
            steps=sampling.steps,
            guidance=sampling.guidance,
            chains=sampling.chains,
            early_exit=sampling.early_exit,
        )

    def but(self, **changes: Any) -> Inference:
        """A copy with these changes; None changes nothing.

        `sampler`, `to_one` and `read_out` are names of components; another component than the
        recipe's comes with its default settings.

        Raises:
            PluginError: no such component.
            UsageError: a number is out of its range.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        for kind in ("sampler", "to_one", "read_out"):
            if kind in given:
                given[kind] = _named(kind, given[kind], getattr(self, kind))
        changed = replace(self, **given)
        changed.check()
        return changed

    def check(self) -> None:
        """Raise `UsageError` for numbers that mean nothing."""
        for name, lowest in (("steps", 1), ("chains", 1), ("guidance", 0), ("early_exit", 0)):
            if not getattr(self, name) >= lowest:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {lowest}")

    @property
    def one_pass(self) -> bool:
        """True if the read-out needs no chain."""
        return "one-pass" in self.read_out.spec.provides

    @property
    def to_one_name(self) -> str:
        """The to-one operator in effect: a sampler that draws has no use for another."""
        return "sample" if "draws" in self.sampler.spec.provides else self.to_one.name

    def answer(
        self, model: LabelDiffusion, condition: Tensor, generator: torch.Generator
    ) -> Answer:
        """Condition (B, C, V) -> answer (B, N, K)."""
        read_out: ReadOut = self._build(self.read_out)
        steps = min(self.steps, read_out.max_steps or self.steps)
        settings = self._settings(steps, read_out.start)
        return read_out.read(
            chain(
                model,
                condition,
                self._sampler(),
                self._to_one(),
                settings,
                generator,
            )
        )

    def trace(
        self, model: LabelDiffusion, condition: Tensor, generator: torch.Generator
    ) -> list[ChainStep]:
        """Every step of the chains from pure noise with their states, whatever the read-out."""
        settings = replace(self._settings(self.steps, "noise"), hold=True)
        return list(chain(model, condition, self._sampler(), self._to_one(), settings, generator))

    def _settings(self, steps: int, start: Any) -> ChainSettings:
        return ChainSettings(
            steps=steps,
            guidance=self.guidance,
            chains=self.chains if start == "noise" else 1,
            early_exit=self.early_exit,
            start=start,
            shuffled=self.shuffled,
        )

    def _build(self, choice: Choice) -> Any:
        return choice.spec.build(choice.config, self.problem)

    def _sampler(self) -> Sampler:
        sampler: Sampler = self._build(self.sampler)
        return sampler

    def _to_one(self) -> ToOne:
        to_one: ToOne = self._build(self.to_one)
        return to_one


def _named(kind: str, name: str, current: Choice) -> Choice:
    if name == current.name:
        return current
    spec = load_registry().get(kind, name).spec
    return Choice(spec, spec.config())
