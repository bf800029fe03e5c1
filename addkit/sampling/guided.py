"""The network with a prepared condition: guidance, early exit and self-conditioning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from addkit.diffusion.model import LabelDiffusion
from addkit.plugin.values import Layout, State


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Uncond + w (cond - uncond): w = 1 is off, w = 0 ignores the image."""
    # lerp is exact at w = 0 and w = 1, where the plain formula rounds.
    return torch.lerp(unconditional, conditional, scale)


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """Network output for one noisy state."""

    logits: Tensor
    """(B, R, N, K), guided."""
    features: Tensor
    """(B, R, N, D), or (2B, R, N, D) under guidance: for self-conditioning."""


@dataclass(frozen=True, slots=True)
class GuidedModel:
    """The prepared condition, with the null condition behind it where guidance needs it."""

    model: LabelDiffusion
    prepared: tuple[Tensor, ...]
    """(B, ...), or (2B, ...) under guidance: all conditional rows, then all unconditional ones."""
    guidance: float
    batch: int
    """B."""

    @classmethod
    def of(cls, model: LabelDiffusion, condition: Tensor, guidance: float) -> GuidedModel:
        """Prepare the condition (B, C, V), and the null one if guidance is on."""
        prepared = model.denoiser.prepare(condition)
        if guidance != 1:
            # One row for all images, expanded after it is prepared.
            null = model.denoiser.prepare(model.null_condition(condition.shape[1]))
            prepared = tuple(
                torch.cat([p, n.expand_as(p)]) for p, n in zip(prepared, null, strict=True)
            )
        return cls(model, prepared, guidance, condition.shape[0])

    def __call__(
        self,
        state: State,
        t: Tensor,
        layout: Layout | None = None,
        previous_features: Tensor | None = None,
    ) -> ModelOutput:
        """Guided logits of a state at times t, broadcastable to (B, R, N)."""
        alpha_bar = self.model.schedule.alpha_bar(t)
        places = None if layout is None else layout.places
        y_t = state.y_t
        if self.guidance == 1:
            features = self.model.features(state, t, self.prepared, layout, previous_features)
            outputs = self.model.outputs(features, state, alpha_bar)
        else:
            # Both branches in one batch: the same state under either condition.
            state, layout = state.repeated(), None if layout is None else layout.repeated()
            t, levels = (x if x.shape[0] == 1 else x.repeat(2, 1, 1) for x in (t, alpha_bar))
            features = self.model.features(state, t, self.prepared, layout, previous_features)
            outputs = self.guide(self.model.outputs(features, state, levels))
        # Guidance mixes the K outputs, before a loss that predicts an estimate turns them into
        # logits: both branches read the same y_t, so it is needed once, (B, R, N, K).
        return ModelOutput(self.model.logits(outputs, y_t, alpha_bar, places), features)

    def guide(self, outputs: Tensor) -> Tensor:
        """Both branches' outputs (2B, ...) as one; without guidance they are one already."""
        if self.guidance == 1:
            return outputs
        conditional, unconditional = outputs.chunk(2)  # (B, ...) each
        return guide(conditional, unconditional, self.guidance)

    def rows(self, images: Tensor) -> Tensor:
        """Rows of `prepared` and of features that belong to these images, in either branch."""
        if self.guidance == 1:
            return images
        return torch.cat([images, images + self.batch])

    def select(self, images: Tensor) -> GuidedModel:
        """The same for some of the images."""
        rows = self.rows(images)
        prepared = tuple(p.index_select(0, rows) for p in self.prepared)
        return replace(self, prepared=prepared, batch=len(images))


class EarlyExit:
    """Calls the guided model for the images that have not stopped; the others keep their logits.

    An image stops once its labels have not changed for `patience` steps; 0 never stops one.
    """

    def __init__(self, guided: GuidedModel, patience: int, device: torch.device) -> None:
        self.guided, self.patience = guided, patience
        self.unchanged = torch.zeros(guided.batch, dtype=torch.long, device=device)
        self.exited = torch.zeros(guided.batch, dtype=torch.bool, device=device)
        self.output: ModelOutput | None = None

    def __call__(self, state: State, t: Tensor, layout: Layout | None) -> Tensor:
        """Logits (B, R or 1, N, K) of the next step."""
        last, conditions = self.output, self.guided.model.self_conditioning is not None
        # Read only where it can be true: on a GPU reading it waits for the step before.
        if last is None or not self.patience or not bool(self.exited.any()):
            previous = last.features if last is not None and conditions else None
            self.output = self.guided(state, t, layout, previous)
            return self.output.logits
        images = (~self.exited).nonzero().squeeze(1)  # (images that go on,)
        rows = self.guided.rows(images)
        output = self.guided.select(images)(
            state.select(images),
            t if len(t) == 1 else t[images],
            None if layout is None else layout.select(images),
            last.features[rows] if conditions else None,
        )
        # The first step may have one row where all chains start alike (y_T = 0): (B, R, N, ...).
        logits = last.logits.expand(-1, output.logits.shape[1], -1, -1)
        features = last.features.expand(-1, output.features.shape[1], -1, -1)
        self.output = ModelOutput(
            logits.index_copy(0, images, output.logits),
            features.index_copy(0, rows, output.features),
        )
        return self.output.logits

    def update(self, logits: Tensor, before: Tensor | None) -> None:
        """Count the steps for which each image's labels have not changed."""
        self.unchanged += 1
        if before is not None:
            # (B,): an image continues while any token of any of its chains changes.
            same = (logits.argmax(-1) == before.argmax(-1)).flatten(1).all(1)
            self.unchanged = torch.where(same, self.unchanged, 1)
        self.exited = self.unchanged >= self.patience
