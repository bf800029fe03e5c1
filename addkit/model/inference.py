"""Inference: the sampler, the to-one operator, the read-out and their numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from addkit.diffusion import LabelDiffusion
from addkit.diffusion.likelihood import up_to_end
from addkit.errors import RunError, UsageError, require_type
from addkit.plugin import Choice, load_registry
from addkit.plugin.config import Chains, Config, Count, CountOrZero, Guidance, Seed, Steps
from addkit.plugin.protocols import ReadOut, Sampler, ToOne
from addkit.plugin.spec import Problem
from addkit.plugin.values import (
    FORBIDDEN,
    FREE,
    Answer,
    ChainSettings,
    ChainStep,
    InferenceSettings,
)
from addkit.recipe import Recipe
from addkit.recipe.validation import check_arguments
from addkit.samplers.blocks import sample


class Arguments(Config):
    """What a prediction can be asked for, in the ranges of a recipe's [sampling]."""

    steps: Steps = 1
    guidance: Guidance = 1.0
    chains: Chains = 1
    early_exit: CountOrZero = 0
    sampler: str = ""
    to_one: str = ""
    read_out: str = ""
    seed: Seed = 0
    top: Count = 1


NUMBERS = ("steps", "guidance", "chains", "early_exit")


# No slots: cached properties are kept in the instance's dict.
@dataclass(frozen=True, kw_only=True)
class Inference:
    """Everything that an answer depends on, apart from the network and the condition.

    `of` takes the recipe's settings; `replace` changes some of them. Sampler, to-one operator and
    read-out are built once, at the first answer.
    """

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
    """(N,) labels that the user gives, FREE elsewhere."""
    evidence: bool = False
    """True if answers read soft evidence, which `answer` is then given."""
    evidence_objection: str = ""
    """Why the network cannot read evidence as a state; empty where it can."""

    @classmethod
    def of(cls, recipe: Recipe, problem: Problem, steps: int | None = None) -> Inference:
        """The recipe's settings; `steps` replaces its `auto`."""
        sampling = recipe.sampling
        inference = cls(
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
            evidence_objection=state_objection(recipe, problem.num_tokens),
        )
        return inference.with_evidence(own_sampler=True) if sampling.evidence else inference

    def with_evidence(self, *, own_sampler: bool = False) -> Inference:
        """The settings that answers under soft evidence are made with: those of the process's
        evidence sampler, or with `own_sampler` of the one that these settings name.

        Raises:
            UsageError: the process or the sampler takes in no evidence, or the network was not
                trained to read it.
        """
        sampler, process = self.sampler, self.process
        if not own_sampler:
            table: dict[str, Any] = dict(getattr(process.spec, "evidence_sampler", {}))
            if not table:
                raise UsageError(f'soft evidence: the process "{process.name}" takes in none')
            spec = load_registry().get("sampler", table.pop("name")).spec
            sampler = Choice(spec, spec.settings(**table))
        # A search ranks whole answers and has its own marginals: the last step has both.
        return self.replace(read_out="last", sampler=sampler, evidence=True)

    def replace(self, **changes: Any) -> Inference:
        """A copy with these changes; None keeps the value.

        `sampler`, `to_one` and `read_out` are names of components, or components with their
        settings; one that is named keeps the recipe's settings that it has too.

        Raises:
            PluginError: no such component.
            UsageError: a number is out of its range, or the sampler cannot walk the process.
        """
        changes = {key: value for key, value in changes.items() if value is not None}
        for kind in ("sampler", "to_one", "read_out"):
            name = changes.get(kind)
            if isinstance(name, Choice):
                continue
            if name == getattr(self, kind).name:
                del changes[kind]
            elif name is not None:
                require_type(kind, name, str)
                spec = load_registry().get(kind, name).spec
                kept = getattr(self, kind).config.model_dump(
                    include=set(spec.settings.model_fields)
                )
                changes[kind] = Choice(spec, spec.settings(**kept))
        changed = dataclasses.replace(self, **changes)
        changed.check()
        return changed

    def check(self) -> None:
        """Raise `UsageError` for numbers out of range and a sampler that does not fit."""
        check_arguments(Arguments, **{name: getattr(self, name) for name in NUMBERS})
        process: Any = self.process.spec
        if not process.accepts & self.sampler.spec.provides:
            raise UsageError(
                f'the sampler "{self.sampler.name}" cannot walk the process "{process.name}", '
                f"which takes samplers that are {' or '.join(sorted(process.accepts))}; "
                f"these can: {', '.join(self.samplers())}"
            )
        if not self.evidence:
            return
        if self.evidence_way is None:
            ways = self.samplers({"evidence-as-state", "evidence-as-bias"})
            raise UsageError(
                f'soft evidence: the sampler "{self.sampler.name}" takes in none; these do: '
                f"{', '.join(ways)}"
            )
        if self.evidence_way == "state" and self.evidence_objection:
            raise UsageError(
                f"soft evidence: {self.evidence_objection}. These samplers take it in as a bias, "
                f"less exactly: {', '.join(self.samplers({'evidence-as-bias'}))}"
            )

    @property
    def evidence_way(self) -> Literal["state", "bias"] | None:
        """How soft evidence is taken in, if it is; see `Process`."""
        if not self.evidence:
            return None
        if "evidence-as-state" in self.sampler.spec.provides:
            return "state"
        return "bias" if "evidence-as-bias" in self.sampler.spec.provides else None

    def samplers(self, abilities: Collection[str] = ()) -> list[str]:
        """Samplers that can walk the process and provide one of the abilities, if any are asked."""
        process: Any = self.process.spec
        # Third parties' samplers too, by their abilities.
        registry = load_registry()
        specs = [registry.get("sampler", name).spec for name in registry.names("sampler")]
        return [
            spec.name
            for spec in specs
            if process.accepts & spec.provides
            and (not abilities or spec.provides.intersection(abilities))
        ]

    @cached_property
    def one_pass(self) -> bool:
        """True if the read-out needs no chain."""
        return "one-pass" in self.read_out.spec.provides

    @property
    def to_one_name(self) -> str:
        """The to-one operator in effect: a sampler that draws labels itself uses no other."""
        return "sample" if "draws" in self.sampler.spec.provides else self.to_one.name

    @cached_property
    def settings(self) -> InferenceSettings:
        """The public record of these settings, for answers made by them."""
        if self.one_pass:
            # What a chain alone would read is left out, so that equal inferences compare equal.
            return InferenceSettings(
                read_out=self.read_out.name,
                sampler=None,
                to_one=None,
                steps=1,
                guidance=self.guidance,
                chains=1,
            )
        return InferenceSettings(
            read_out=self.read_out.name,
            sampler=self.sampler.name,
            to_one=self.to_one_name,
            steps=self.steps,
            guidance=self.guidance,
            chains=self.chains,
            early_exit=self.early_exit,
            evidence=self.evidence_way,
        )

    @cached_property
    def _components(self) -> tuple[Sampler, ToOne, ReadOut]:
        """Built once; each serves many chains, one after the other."""
        sampler, to_one, read_out = (
            choice.spec.create(choice.config, self.problem)
            for choice in (self.sampler, self.to_one, self.read_out)
        )
        return sampler, to_one, read_out

    def answer(
        self,
        model: LabelDiffusion,
        condition: Tensor,
        generator: torch.Generator,
        watch: Callable[[ChainStep], None] | None = None,
        evidence: Tensor | None = None,
    ) -> Answer:
        """Condition (B, C, V) -> answer (B, N, K). Raises `RunError` if it is not finite.

        `watch` is called with each step of the chains. Soft evidence is (B, N, K) or (N, K), for
        settings of `with_evidence`.
        """
        answer = self.read(model, condition, generator, watch, evidence)
        # Confidence too: votes are finite whatever the logits are. A sum of numbers in [0, 1] is
        # finite if all of them are, and costs no tensor of the answer's size.
        if not (answer.probabilities.sum() + answer.confidence.sum()).isfinite():
            made = ", ".join(f"{k} {v}" for k, v in asdict(self.settings).items() if v is not None)
            raise RunError(
                f"the network's answer is not finite (inference: {made}); lower the guidance if it "
                "is above 1, or else try --weights raw or another checkpoint: the training may "
                "have diverged"
            )
        return dataclasses.replace(answer, inference=self.settings)

    def read(
        self,
        model: LabelDiffusion,
        condition: Tensor,
        generator: torch.Generator,
        watch: Callable[[ChainStep], None] | None = None,
        evidence: Tensor | None = None,
    ) -> Answer:
        """`answer` without its check, which no exported graph can make."""
        _, _, read_out = self._components
        count = min(self.steps, read_out.max_steps or self.steps)
        steps = self._chain(
            model, condition, generator, steps=count, start=read_out.start, evidence=evidence
        )
        return read_out.read(
            steps if watch is None else _watched(steps, watch),
            # Called by read-outs that rank by it alone: it costs N passes of the network.
            lambda labels: self.log_p(model, condition, labels),
        )

    def log_p(
        self, model: LabelDiffusion, condition: Tensor, labels: Tensor, *counts: Tensor
    ) -> Tensor:
        """log p of whole answers, (B, S, N) -> (B, S); with a length head, without the pads.

        `counts`, if given, are the tokens that it sums over; see `Process.likelihood`.
        """
        present = None if model.length_head is None else torch.ne(labels, self._pad)
        return model.process.likelihood(model, model.prepare(condition), labels, present, *counts)

    def truth_log_p(
        self, model: LabelDiffusion, condition: Tensor, labels: Tensor
    ) -> Tensor | None:
        """log p of the true labels (B, N): of attributes, NaN where a value is missing, or of a
        caption and its end, (B,).

        None for one label, and for a process without an exact likelihood.
        """
        labels, pad = labels.to(condition.device), self.problem.pad
        if pad is None and not self.problem.token_names:
            return None
        # What follows the end is no part of a caption.
        counts = () if pad is None else (up_to_end(labels, pad).unsqueeze(1),)
        try:
            # A missing value is -1; class 0 in its place is only an index, masked below.
            every = labels.clamp_min(0).unsqueeze(1)  # (B, 1, N)
            if model.length_head is None:
                log_p = self.log_p(model, condition, every, *counts).squeeze(1)
            else:
                # The length head decides where a caption ends, among 1, ..., N as in sampling.
                words = torch.ne(labels, self._pad).sum(-1, keepdim=True)  # (B, 1)
                ends = model.length_logits(condition)[:, 1:].log_softmax(-1)
                end = ends.gather(1, words.clamp_min(1) - 1)
                log_p = (self.log_p(model, condition, every) + end).squeeze(1)
        except UsageError:
            return None
        return log_p.masked_fill((labels < 0).any(-1), torch.nan)

    def product_log_p(self, answer: Answer, labels: Tensor) -> Tensor | None:
        """log p of the true labels under one pass: the product of its tokens' probabilities.

        None for one label, and where a length head chose the tokens that there are.
        """
        pad = self.problem.pad
        if answer.prior is not None or (pad is None and not self.problem.token_names):
            return None
        labels = labels.to(answer.probabilities.device)
        # The pass predicts each token without the others, so that they are independent: (B, N).
        picked = answer.probabilities.gather(-1, labels.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        if pad is not None:
            picked = picked.masked_fill(~up_to_end(labels, pad), 1.0)
        return picked.log().sum(-1).masked_fill((labels < 0).any(-1), torch.nan)

    def trace(
        self, model: LabelDiffusion, condition: Tensor, generator: torch.Generator
    ) -> list[ChainStep]:
        """Every step of the chains from pure noise with their states, whatever the read-out."""
        return list(self._chain(model, condition, generator, steps=self.steps, keep_y_t=True))

    @property
    def _pad(self) -> int:
        """The class that ends a caption; a network with a length head has one."""
        assert self.problem.pad is not None
        return self.problem.pad

    def _chain(
        self,
        model: LabelDiffusion,
        condition: Tensor,
        generator: torch.Generator,
        *,
        steps: int,
        start: Literal["noise", "zero"] = "noise",
        keep_y_t: bool = False,
        evidence: Tensor | None = None,
    ) -> Iterator[ChainStep]:
        """The steps of the chains, computed as they are read."""
        sampler, to_one, _ = self._components
        device, given, bias, pad = condition.device, self.given, None, self.problem.pad
        if given is not None and pad is not None:
            # Free tokens before a given end are words: (N, K).
            bias = torch.zeros(self.problem.num_tokens, self.problem.num_classes)
            bias[given == FREE, pad] = FORBIDDEN
            bias = bias.to(device)
        if evidence is not None:
            # (B, 1, N, K); what is given needs no evidence.
            evidence = evidence.to(device).expand(condition.shape[0], -1, -1).unsqueeze(1)
            if given is not None:
                evidence = evidence.where((given == FREE).to(device).unsqueeze(-1), 0.0)
        settings = ChainSettings(
            steps=steps,
            guidance=self.guidance,
            # From y_T = 0 all chains are the same.
            chains=self.chains if start == "noise" else 1,
            early_exit=self.early_exit,
            start=start,
            keep_y_t=keep_y_t,
            shuffled=self.shuffled,
            given_labels=None if given is None else given[None, None].to(device),  # (1, 1, N)
            bias=bias,
            evidence=evidence,
        )
        if model.length_head is not None:
            settings = self._with_lengths(model, condition, settings)
        return sample(model, condition, sampler, to_one, settings, generator)

    def _with_lengths(
        self, model: LabelDiffusion, condition: Tensor, settings: ChainSettings
    ) -> ChainSettings:
        """The settings with a length for each chain, the user's or one of the likeliest.

        Tokens beyond it are pads, which the network does not see.
        """
        problem, chains, device = self.problem, settings.chains, condition.device
        if self.given is not None:
            own = torch.ne(self.given, self._pad).sum().to(device)
            return dataclasses.replace(settings, lengths=own.expand(condition.shape[0], chains))
        # Of lengths 1, ..., N: an empty caption is no answer. (B, N).
        log_p = model.length_logits(condition)[:, 1:].log_softmax(-1)
        best = log_p.topk(min(chains, self.length_candidates, problem.num_tokens))
        # Chains take the candidates in turn, so that each length has as many chains to within one.
        rank = torch.arange(chains, device=device) % best.indices.shape[1]
        lengths = best.indices[:, rank] + 1  # (B, R)
        order = torch.arange(problem.num_tokens, device=device)
        bias = torch.zeros(problem.num_classes, device=device)
        bias[self._pad] = FORBIDDEN
        return dataclasses.replace(
            settings,
            lengths=lengths,
            # (B, R, N): pads are given, words are free and never a pad.
            given_labels=torch.where(order < lengths.unsqueeze(-1), FREE, self._pad),
            prior=best.values[:, rank],
            bias=bias[None],
        )


def state_objection(recipe: Recipe, num_tokens: int) -> str:
    """Why the recipe's network cannot read soft evidence as noisy labels; empty where it can."""
    choices = recipe.choices
    if "noisy-state" not in choices["process"].spec.provides:
        return f'the process "{choices["process"].name}" reads no label with Gaussian noise'
    # A label's own evidence is left out: with one label there is none to read.
    if num_tokens == 1:
        return ""
    if not recipe.training.token_times[1]:
        return (
            "this network was not trained on labels with noise levels of their own (the second "
            "of training.token_times is 0), as evidence on some labels is"
        )
    if getattr(choices["denoiser"].config, "time", False):
        return (
            "this network also reads a time (denoiser.time is true), and evidence has none; "
            "train with denoiser.time = false"
        )
    if "reads-likelihood" not in choices["embedding"].spec.provides:
        return (
            f'the embedding "{choices["embedding"].name}" reads more than a label\'s '
            'log-likelihood; train with embedding.name = "posterior"'
        )
    return ""


def _watched(steps: Iterator[ChainStep], watch: Callable[[ChainStep], None]) -> Iterator[ChainStep]:
    for step in steps:
        watch(step)
        yield step
