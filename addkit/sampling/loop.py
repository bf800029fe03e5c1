r"""The sampling loop: predict the clean label, let the sampler decide what is read next (3.2).

.. math::
    \hat y_0 = \mathrm{onehot}(\arg\max_k p(y_0^{(k)} \mid y_t, c)), \qquad
    y_s = b\sqrt{\bar\alpha_s}\,\hat y_0 + \sqrt{1-\bar\alpha_s}\,
          (r\,\hat\epsilon + \sqrt{1 - r^2}\,\epsilon)

The paper prints alpha without the bar here; only alpha_bar agrees with its forward process. The
equation is `addkit.samplers.renoise.Renoise.step` (r = 0, the paper's arg-max-and-re-noise) and
`addkit.samplers.renoise.CarryNoise.step` (r > 0).

Several tokens may follow one path of noise levels together, or be settled one after the other: a
settled token stays what it is, without noise, while the others wait at t = T or go on annealing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from addkit.diffusion.model import LabelDiffusion
from addkit.diffusion.noise import time_grid
from addkit.errors import UsageError
from addkit.plugin.protocols import StepSampler, ToOne
from addkit.plugin.values import (
    FORBIDDEN,
    FREE,
    ChainSettings,
    ChainStep,
    Clean,
    Layout,
    NoisyLabels,
    State,
)
from addkit.sampling.guided import EarlyExit, GuidedModel


def denoise(sampler: StepSampler, chain: Chain) -> Iterator[ChainStep]:
    """Run a sampler's steps over all tokens of a chain and yield each. Raises `UsageError` if the
    network does not read the noisy labels of all tokens at once.

    Args:
        sampler: decides what the network reads at each step.
        chain: the network with its condition, and the settings.
    """
    if chain.block is not None:
        raise UsageError(
            "this sampler steps through noisy labels of all tokens at once, and this network's "
            f"process reads {f'blocks of {chain.block}' if chain.block else 'clean tokens alone'}"
        )
    settings, generator = chain.settings, chain.generator
    batch, chains, num_tokens = chain.shape
    constrained = any(
        each is not None for each in (settings.bias, settings.evidence, settings.given_labels)
    )
    network = EarlyExit(chain.guided, settings.early_exit, generator.device)
    steps = sampler.steps(settings.steps, num_tokens)
    now, before = sampler.start(chain), None
    if settings.given_labels is not None:
        now = chain.with_given(now)
    grid = time_grid(steps).float().to(generator.device)  # (steps + 1,): 1, ..., 1/n, 0
    for index in range(steps):
        logits = network(now.state, now.t, chain.layout)
        if constrained or now.settled is not None or logits.shape[1] < chains:
            logits = chain.constrained(logits, now, before)  # (B, R, N, K)
        clean = sampler.clean(chain, logits)
        if now.settled is not None:
            # Also where the to-one operator drew another label for it.
            clean = chain.with_settled(clean, now)
        exited, y_t = network.exited, now.state.y_t
        yield ChainStep(index, 1 - index / steps, logits, clean, exited, y_t, settings.prior)
        # The last prediction is the answer: noising it once more would only waste a draw.
        if index + 1 == steps:
            return
        if settings.early_exit:
            # Two passes over K-wide tensors, so only where asked for.
            network.update(logits, before)
            if bool(network.exited.all()):
                return
        s = grid[index + 1].expand(1, 1, 1)
        now = sampler.step(chain, now, logits, clean, s, (index + 1) / steps)
        if settings.shuffled:
            images = torch.randperm(batch, generator=generator, device=generator.device)
            now = now.select(images)
        if now.settled is not None:
            now = chain.settle(now, clean.ids)
        before = logits


@dataclass(frozen=True, slots=True)
class Chain:
    """What stays the same from step to step; see `addkit.plugin.protocols.Chain`."""

    model: LabelDiffusion
    """The network."""
    guided: GuidedModel
    """The network with the prepared condition of these images."""
    to_one: ToOne
    settings: ChainSettings
    generator: torch.Generator
    shape: tuple[int, int, int]
    """(B, R, N)."""
    layout: Layout | None
    block: int | None

    @classmethod
    def of(
        cls,
        model: LabelDiffusion,
        condition: Tensor,
        to_one: ToOne,
        settings: ChainSettings,
        generator: torch.Generator,
    ) -> Chain:
        """R chains for each image.

        Args:
            model: the network.
            condition: (B, C, V), on the device of `generator`.
            to_one: from logits to the clean label that is fed back.
            settings: times are 1, (n-1)/n, ..., 1/n.
            generator: of all noise.
        """
        layout = None
        if settings.lengths is not None:
            # Tokens beyond a chain's length are not seen: (B, R, 1, N).
            order = torch.arange(model.num_tokens, device=settings.lengths.device)
            layout = Layout((order < settings.lengths.unsqueeze(-1)).unsqueeze(2))
        return cls(
            model,
            GuidedModel.of(model, condition, settings.guidance),
            to_one,
            settings,
            generator,
            (condition.shape[0], settings.chains, model.num_tokens),
            layout,
            model.process.block,
        )

    @property
    def prepared(self) -> tuple[Tensor, ...]:
        """The prepared condition of both branches."""
        return self.guided.prepared

    @property
    def branches(self) -> int:
        """2 under guidance, else 1."""
        return 1 if self.guided.guidance == 1 else 2

    def guide(self, outputs: Tensor) -> Tensor:
        """Both branches' outputs as one."""
        return self.guided.guide(outputs)

    def noise(self, clean: Clean, alpha_bar: Tensor, *, keep_y_t: bool = False) -> State:
        """A clean label with fresh noise at this signal power."""
        keep_y_t = keep_y_t or self.settings.keep_y_t
        return self.model.corrupt(clean, alpha_bar, self.generator, keep_y_t=keep_y_t)

    def predict(self, now: NoisyLabels) -> Tensor:
        """Guided logits (B, R, N, K) of a noisy state."""
        output = self.guided(now.state, now.t, self.layout)
        return self.constrained(output.logits, now, None)

    def constrained(self, logits: Tensor, now: NoisyLabels, before: Tensor | None) -> Tensor:
        """Logits of all chains under bias, soft evidence and given labels; a settled token keeps
        those before.
        """
        # (B, R, N, K): a first state that all chains share has logits of one row, (B, 1, N, K).
        logits = logits.expand(-1, self.shape[1], -1, -1)
        for added in (self.settings.bias, self.settings.evidence):
            logits = logits if added is None else logits + added
        if now.settled is not None and before is not None:
            logits = torch.where(now.settled.unsqueeze(-1), before, logits)
        given = self.settings.given_labels
        # After the bias, which must not move what the user gave.
        return logits if given is None else forced(logits, given)

    def with_settled(self, clean: Clean, now: NoisyLabels) -> Clean:
        """The clean label, in which settled tokens keep their own."""
        if now.settled is None or now.labels is None:
            return clean
        ids = torch.where(now.settled, now.labels, clean.ids)
        if clean.soft is None:
            return Clean(ids)
        # A soft label of a settled token is one-hot: (B, R, N, K).
        certain = Clean(ids).dense(self.model.num_classes)
        return Clean(ids, torch.where(now.settled.unsqueeze(-1), certain, clean.soft))

    def with_given(self, now: NoisyLabels) -> NoisyLabels:
        """The first state, in which given tokens are settled and clean."""
        given = self.settings.given_labels
        if given is None:
            return now
        given = given.expand(self.shape)
        # FREE is negative, and a free token's class is overwritten before it is read.
        ids = given.clamp_min(0)
        return self.settle(replace(now, settled=given != FREE, labels=ids), ids)

    def settle(self, now: NoisyLabels, ids: Tensor) -> NoisyLabels:
        """Make settled tokens clean (t = 0) among others that share one time."""
        # Per-token times come from a sampler that has already put settled tokens at t = 0.
        if now.settled is None or now.t.numel() > 1:
            return now
        one = torch.ones(1, 1, 1, device=self.generator.device)
        y_t = now.state.y_t
        # Noise is drawn for all tokens, also where none is used: the stream of random numbers
        # then does not depend on which tokens have settled.
        sure = self.model.corrupt(Clean(ids), one, self.generator, keep_y_t=y_t is not None)
        where = now.settled.unsqueeze(-1)
        h = torch.where(where, sure.h, now.state.h)
        if y_t is not None and sure.y_t is not None:
            y_t = torch.where(where, sure.y_t, y_t)
        t = torch.where(now.settled, 0.0, now.t)
        return replace(now, state=State(h, y_t, now.state.noise), t=t)


def forced(logits: Tensor, given: Tensor | None) -> Tensor:
    """Logits (B, R, N, K) that are sure of the tokens that are given, FREE elsewhere."""
    if given is None:
        return logits
    # log 1 for the given class and FORBIDDEN for the others; no infinity, since 0 x inf is NaN
    # where a later step multiplies.
    sure = torch.full_like(logits[..., :1], FORBIDDEN).expand_as(logits)
    sure = sure.scatter(-1, given.clamp_min(0).unsqueeze(-1).expand(*logits.shape[:-1], 1), 0.0)
    return torch.where((given != FREE).unsqueeze(-1), sure, logits)
