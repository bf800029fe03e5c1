"""Blocks from left to right, diffusion within each: between ADD and autoregression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from addkit.diffusion.branches import Branches
from addkit.diffusion.chain import ChainSettings, walk
from addkit.diffusion.gaussian import GaussianProcess
from addkit.diffusion.likelihood import counted, token_log_probabilities
from addkit.diffusion.model import LabelDiffusion, NoisyBatch, State
from addkit.diffusion.results import ChainStep, Clean, Layout, Targets
from addkit.errors import UsageError

if TYPE_CHECKING:
    from addkit.plugin.protocols import JointDenoiser, Sampler, ToOne


class BlocksProcess(GaussianProcess):
    """Two streams in training: clean tokens, causal, and noisy ones (Arriola et al. 2025, BD3-LM).

    A noisy token sees the clean tokens before its block and the noisy ones of its block, so one
    pass trains every block. Sampling denoises a block in `steps` steps, then keeps its keys and
    values. With blocks of 1 and all rows at t = T this is autoregression.

    Args:
        block: tokens of a block.
    """

    def __init__(self, block: int) -> None:
        self.block = block

    def with_layout(
        self,
        hidden: NoisyBatch,
        model: LabelDiffusion,
        targets: Targets,
        generator: torch.Generator,
    ) -> NoisyBatch:
        """The clean stream before the noisy one."""
        state, t = self._streams(hidden.state, hidden.t, model, targets.labels)
        layout = self._layout(targets.labels.shape[-1], targets.present, generator.device)
        return replace(hidden, state=state, t=t, layout=layout)

    def _streams(
        self, noisy: State, t: Tensor, model: LabelDiffusion, labels: Tensor
    ) -> tuple[State, Tensor]:
        """2 N tokens and their times; what is clean needs no draw."""
        one = torch.ones(1, 1, 1, device=labels.device)
        clean = model.corrupt(Clean(labels), one, torch.Generator(device=labels.device))
        h = torch.cat([clean.h, noisy.h.expand_as(clean.h)], 2)
        t = t.expand(*t.shape[:2], labels.shape[-1])
        return State(h), torch.cat([torch.zeros_like(t), t], -1)

    def _layout(self, num_tokens: int, present: Tensor | None, device: torch.device) -> Layout:
        place = torch.arange(num_tokens, device=device)
        block = place // self.block
        before = block.unsqueeze(1) > block
        own = block.unsqueeze(1) == block
        causal = place.unsqueeze(1) >= place
        nothing = torch.zeros_like(own)
        visible = torch.cat([torch.cat([causal, nothing], 1), torch.cat([before, own], 1)])
        if present is not None:
            visible = visible & present.repeat(1, 1, 2).unsqueeze(2)
        else:
            visible = visible[None, None]
        return Layout(visible, place.repeat(2), num_tokens)

    def likelihood(
        self,
        model: LabelDiffusion,
        prepared: tuple[Tensor, ...],
        labels: Tensor,
        present: Tensor | None = None,
    ) -> Tensor:
        """Exact for blocks of 1. Raises `UsageError` for longer ones."""
        if self.block > 1:
            raise UsageError(
                "the likelihood of blocks longer than 1 token is not known; "
                "use the read-out consensus, or process.block = 1"
            )
        one = torch.ones(1, 1, 1, device=labels.device)
        noise = model.corrupt(Clean(labels), one - 1, torch.Generator(device=labels.device))
        state, t = self._streams(noise, one, model, labels)
        layout = self._layout(labels.shape[-1], present, labels.device)
        features = model.features(state, t, prepared, layout)
        return counted(token_log_probabilities(model, features, labels), present)

    def chain(
        self,
        model: LabelDiffusion,
        condition: Tensor,
        sampler: Sampler,
        to_one: ToOne,
        settings: ChainSettings,
        generator: torch.Generator,
    ) -> Iterator[ChainStep]:
        """`settings.steps` steps for each block; a step is yielded when its block is done."""
        batch, chains = len(condition), settings.chains
        branches = Branches.of(model, condition, settings.guidance)
        branches = _for_rows(branches, chains)
        done: list[ChainStep] = []
        for start in range(0, model.num_tokens, self.block):
            places = torch.arange(
                start, min(start + self.block, model.num_tokens), device=condition.device
            )
            shape = (batch * chains, 1, len(places))
            part = _part(settings, places, batch)
            layout = Layout(_seen(settings.lengths, places, batch, chains), places)
            *_, last = walk(branches, sampler, to_one, part, generator, shape, layout)
            done.append(last)
            branches = _extended(branches, last.clean.ids, places)
            if settings.hold or start + self.block >= model.num_tokens:
                yield _joined(done, batch, chains, model, settings)


def _for_rows(branches: Branches, chains: int) -> Branches:
    """A prepared condition for each chain, whose clean tokens will differ."""
    axis = 0 if branches.guidance == 1 else 1
    prepared = tuple(p.repeat_interleave(chains, axis) for p in branches.prepared)
    return Branches(branches.model, prepared, branches.guidance)


def _part(settings: ChainSettings, places: Tensor, batch: int) -> ChainSettings:
    """The settings of one block; each chain is a row of its own."""
    held, bias = settings.held, settings.bias
    if held is not None:
        rows = held.expand(batch, settings.chains, -1)[..., places]
        held = rows.reshape(-1, 1, len(places))
    if bias is not None and bias.shape[-2] > 1:
        bias = bias[..., places, :]
    if bias is not None and bias.ndim == 4:
        bias = bias.expand(batch, settings.chains, -1, -1).flatten(0, 1).unsqueeze(1)
    return replace(settings, chains=1, held=held, bias=bias, early_exit=0)


def _seen(lengths: Tensor | None, places: Tensor, batch: int, chains: int) -> Tensor | None:
    """Tokens beyond a chain's length are not seen, (B R, 1, 1, n)."""
    if lengths is None:
        return None
    return places < lengths.expand(batch, chains).reshape(-1, 1, 1, 1)


def _extended(branches: Branches, ids: Tensor, places: Tensor) -> Branches:
    """The condition with a block's clean tokens behind it, each of which sees those before it."""
    model, device = branches.model, ids.device
    one = torch.ones(1, 1, 1, device=device)
    h = model.corrupt(Clean(ids), one, torch.Generator(device=device)).h
    if branches.guidance != 1:
        h = torch.cat([h, h])
    visible = torch.ones(1, 1, len(places), len(places), dtype=torch.bool, device=device).tril()
    _, known = cast("JointDenoiser", model.denoiser).extend(
        h, one - 1, branches.flat, Layout(visible, places)
    )
    if branches.guidance != 1:
        known = tuple(p.view(2, -1, *p.shape[1:]) for p in known)
    return Branches(model, known, branches.guidance)


def _joined(
    done: list[ChainStep], batch: int, chains: int, model: LabelDiffusion, settings: ChainSettings
) -> ChainStep:
    """The blocks so far as one step; what is not written yet is all class 0."""
    logits = torch.cat([step.logits for step in done], 2)
    ids = torch.cat([step.clean.ids for step in done], 2)
    missing = model.num_tokens - ids.shape[-1]
    logits = functional.pad(logits, (0, 0, 0, missing))
    ids = functional.pad(ids, (0, missing))
    exited = torch.zeros(batch, dtype=torch.bool, device=ids.device)
    index = sum(step.index + 1 for step in done) - 1
    t = missing / model.num_tokens
    logits = logits.reshape(batch, chains, *logits.shape[2:])
    clean = Clean(ids.reshape(batch, chains, -1))
    return ChainStep(index, t, logits, clean, exited, prior=settings.prior)
