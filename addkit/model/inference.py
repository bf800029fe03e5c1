"""How answers are made: a sampler, a to-one operator, a read-out and their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from addkit.diffusion import Answer, ChainSettings, ChainStep, LabelDiffusion
from addkit.diffusion.chain import FREE
from addkit.diffusion.model import FORBIDDEN
from addkit.errors import UsageError
from addkit.plugin import Choice, load_registry
from addkit.plugin.protocols import ReadOut, Sampler, ToOne
from addkit.plugin.spec import Problem, Spec
from addkit.recipe import Recipe


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
    process: Choice
    length_candidates: int = 1
    shuffled: bool = False
    given: Tensor | None = None
    """(N,) labels that the user gives, FREE where a token is free."""

    @classmethod
    def of(cls, recipe: Recipe, problem: Problem, steps: int | None = None) -> Inference:
        """The recipe's own way; `steps` are what was chosen where it says auto."""
        sampling = recipe.sampling
        return cls(
            process=recipe.choices["process"],
            length_candidates=getattr(recipe.choices["task"].config, "length_candidates", 1),
            sampler=recipe.choices["sampler"],
            to_one=recipe.choices["to_one"],
            read_out=recipe.choices["read_out"],
            problem=problem,
            steps=(steps or 1) if sampling.steps == "auto" else sampling.steps,
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
        process: Any = self.process.spec
        if not process.accepts & self.sampler.spec.provides:
            known = load_registry()
            fit = [
                n for n in known.names("sampler") if _fits(process, known.get("sampler", n).spec)
            ]
            raise UsageError(
                f'the sampler "{self.sampler.name}" cannot walk the process "{process.name}"; '
                f"these can: {', '.join(fit)}"
            )

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
        settings = self._settings(steps, read_out.start, condition.device)
        return read_out.read(
            self._chain(model, condition, settings, generator),
            lambda labels: self.log_p(model, condition, labels),
        )

    @property
    def _pad(self) -> int:
        """Of a network that is told lengths, and so of captions."""
        assert self.problem.pad is not None
        return self.problem.pad

    def log_p(self, model: LabelDiffusion, condition: Tensor, labels: Tensor) -> Tensor:
        """log p of whole answers, (B, S, N) -> (B, S); of the tokens up to a told length."""
        present = None if model.lengths is None else torch.ne(labels, self._pad)
        return model.process.likelihood(model, model.prepare(condition), labels, present)

    def truth_log_p(
        self, model: LabelDiffusion, condition: Tensor, labels: Tensor
    ) -> Tensor | None:
        """log p of the true labels (B, N) of attributes, (B,); NaN where a value is missing.

        None for other tasks, and for a process whose likelihood is not known.
        """
        if not self.problem.token_names:
            return None
        known = labels.to(condition.device)
        try:
            log_p = self.log_p(model, condition, known.clamp_min(0).unsqueeze(1)).squeeze(1)
        except UsageError:
            return None
        return log_p.masked_fill((known < 0).any(-1), torch.nan)

    def product_log_p(self, answer: Answer, labels: Tensor) -> Tensor | None:
        """The same of one pass, whose labels do not see each other: its probabilities' product."""
        if not self.problem.token_names:
            return None
        known = labels.to(answer.probabilities.device)
        picked = answer.probabilities.gather(-1, known.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        return picked.log().sum(-1).masked_fill((known < 0).any(-1), torch.nan)

    def trace(
        self, model: LabelDiffusion, condition: Tensor, generator: torch.Generator
    ) -> list[ChainStep]:
        """Every step of the chains from pure noise with their states, whatever the read-out."""
        settings = replace(self._settings(self.steps, "noise", condition.device), hold=True)
        return list(self._chain(model, condition, settings, generator))

    def _chain(
        self,
        model: LabelDiffusion,
        condition: Tensor,
        settings: ChainSettings,
        generator: torch.Generator,
    ) -> Iterator[ChainStep]:
        if model.lengths is not None:
            settings = self._with_lengths(model, condition, settings)
        sampler: Sampler = self._build(self.sampler)
        to_one: ToOne = self._build(self.to_one)
        return model.process.chain(model, condition, sampler, to_one, settings, generator)

    def _settings(self, steps: int, start: Any, device: torch.device) -> ChainSettings:
        return ChainSettings(
            steps=steps,
            guidance=self.guidance,
            chains=self.chains if start == "noise" else 1,
            early_exit=self.early_exit,
            start=start,
            shuffled=self.shuffled,
            held=None if self.given is None else self.given[None, None].to(device),
            bias=self._no_pads(device),
        )

    def _no_pads(self, device: torch.device) -> Tensor | None:
        """Free tokens before a given end are words, (N, K)."""
        pad = self.problem.pad
        if self.given is None or pad is None:
            return None
        bias = torch.zeros(self.problem.num_tokens, self.problem.num_classes)
        bias[self.given == FREE, pad] = FORBIDDEN
        return bias.to(device)

    def _with_lengths(
        self, model: LabelDiffusion, condition: Tensor, settings: ChainSettings
    ) -> ChainSettings:
        """Pads are not seen: each chain is told its length, the user's or one of the likeliest."""
        problem, chains = self.problem, settings.chains
        if self.given is not None:
            own = torch.ne(self.given, self._pad).sum().to(condition.device)
            lengths = own.expand(len(condition), chains)
            return replace(settings, lengths=lengths)
        log_p = model.length_logits(condition)[:, 1:].log_softmax(-1)
        best = log_p.topk(min(chains, self.length_candidates, problem.num_tokens))
        rank = torch.arange(chains, device=condition.device) % best.indices.shape[1]
        lengths = best.indices[:, rank] + 1
        order = torch.arange(problem.num_tokens, device=condition.device)
        held = torch.where(order < lengths.unsqueeze(-1), FREE, self._pad)
        bias = torch.zeros(problem.num_classes, device=condition.device)
        bias[self._pad] = FORBIDDEN
        return replace(
            settings, lengths=lengths, held=held, prior=best.values[:, rank], bias=bias[None]
        )

    def _build(self, choice: Choice) -> Any:
        return choice.spec.create(choice.config, self.problem)


def _fits(process: Any, sampler: Spec[Any, Any]) -> bool:
    return bool(process.accepts & sampler.provides)


def _named(kind: str, name: str, current: Choice) -> Choice:
    if name == current.name:
        return current
    spec = load_registry().get(kind, name).spec
    return Choice(spec, spec.settings())
