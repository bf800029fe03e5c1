"""Chains of one batch of images: the guided network, the settings and the tokens that are given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from addkit.diffusion.model import LabelDiffusion
from addkit.errors import UsageError
from addkit.plugin.protocols import ToOne
from addkit.plugin.values import FORBIDDEN, FREE, ChainSettings, Clean, Layout, NoisyLabels, State
from addkit.sampling.guided import GuidedModel


@dataclass(frozen=True, slots=True)
class Chain:
    """What stays the same from step to step; see `addkit.plugin.protocols.Chain`."""

    guided: GuidedModel
    to_one: ToOne
    settings: ChainSettings
    generator: torch.Generator
    shape: tuple[int, int, int]
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
            GuidedModel.of(model, condition, settings.guidance),
            to_one,
            settings,
            generator,
            (len(condition), settings.chains, model.num_tokens),
            layout,
            model.process.block,
        )

    @property
    def model(self) -> LabelDiffusion:
        """The network."""
        return self.guided.model

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
        """Logits of all chains under bias and given labels; a settled token keeps those before."""
        logits = logits.expand(-1, self.shape[1], -1, -1)
        if self.settings.bias is not None:
            logits = logits + self.settings.bias
        if now.settled is not None and before is not None:
            logits = torch.where(now.settled.unsqueeze(-1), before, logits)
        given = self.settings.given_labels
        return logits if given is None else forced(logits, given)

    def with_settled(self, clean: Clean, now: NoisyLabels) -> Clean:
        """The clean label, in which settled tokens keep their own."""
        if now.settled is None or now.labels is None:
            return clean
        ids = torch.where(now.settled, now.labels, clean.ids)
        if clean.soft is None:
            return Clean(ids)
        certain = Clean(ids).dense(self.model.num_classes)
        return Clean(ids, torch.where(now.settled.unsqueeze(-1), certain, clean.soft))

    def with_given(self, now: NoisyLabels) -> NoisyLabels:
        """The first state, in which given tokens are settled and clean."""
        if self.settings.given_labels is None:
            return now
        given = self.settings.given_labels.expand(self.shape)
        ids = given.clamp_min(0)
        return self.settle(replace(now, settled=given != FREE, labels=ids), ids)

    def settle(self, now: NoisyLabels, ids: Tensor) -> NoisyLabels:
        """Make settled tokens clean (t = 0) among others that share one time."""
        # Per-token times come from a sampler that has already put settled tokens at t = 0.
        if now.settled is None or now.t.numel() > 1:
            return now
        one = torch.ones(1, 1, 1, device=self.generator.device)
        y_t = now.state.y_t
        sure = self.model.corrupt(Clean(ids), one, self.generator, keep_y_t=y_t is not None)
        where = now.settled.unsqueeze(-1)
        h = torch.where(where, sure.h, now.state.h)
        if y_t is not None and sure.y_t is not None:
            y_t = torch.where(where, sure.y_t, y_t)
        t = torch.where(now.settled, 0.0, now.t)
        return replace(now, state=State(h, y_t, now.state.noise), t=t)

    def whole(self) -> None:
        """Raise `UsageError` unless the network reads all N noisy labels at once."""
        if self.block is not None:
            raise UsageError(
                "this sampler steps through noisy labels of all tokens at once, and the process "
                "of this network reads "
                + (f"blocks of {self.block}" if self.block else "clean tokens alone")
            )


def forced(logits: Tensor, given: Tensor | None) -> Tensor:
    """Logits (B, R, N, K) that are sure of the tokens that are given, FREE elsewhere."""
    if given is None:
        return logits
    sure = torch.full_like(logits[..., :1], FORBIDDEN).expand_as(logits)
    sure = sure.scatter(-1, given.clamp_min(0).unsqueeze(-1).expand(*logits.shape[:-1], 1), 0.0)
    return torch.where((given != FREE).unsqueeze(-1), sure, logits)
