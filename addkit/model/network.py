"""The whole network: encoder and label diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from addkit.diffusion import LabelDiffusion
from addkit.diffusion.model import shaped
from addkit.plugin.facts import SideInputs
from addkit.plugin.protocols import Encoder


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Numbers of parameters."""

    encoder: int
    """With the conditioner and the null condition."""
    denoiser: int
    projections: int
    """Label embedding and output layer, the two K-wide ones."""
    total: int


class Network(nn.Module):
    """Image -> tokens -> condition -> label diffusion.

    Args:
        encoder: z = E(x).
        diffusion: everything behind the tokens.
        frozen: the encoder keeps its weights, runs in evaluation mode and gets no gradient.
    """

    def __init__(self, encoder: Encoder, diffusion: LabelDiffusion, *, frozen: bool) -> None:
        super().__init__()
        self.encoder = cast("nn.Module", encoder)
        self.diffusion = diffusion
        self.frozen = frozen
        if frozen:
            self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> Network:
        """As `nn.Module.train`, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def recompute_activations(self) -> None:
        """Keep only what enters the blocks of the parts that can; gradients stay the same."""
        for part in (self.encoder, self.diffusion.denoiser):
            recompute = getattr(part, "recompute_activations", None)
            if recompute is not None:
                recompute()

    def tokens(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, L, W)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens: Tensor = self.encoder(images)
        width = cast("Encoder", self.encoder).width
        maker = self.diffusion.plugin_names.get("encoder", "")
        shaped(tokens, (len(images), "L", width), "encoder", "tokens", maker)
        return tokens

    def condition(self, images: Tensor, side_inputs: SideInputs | None = None) -> Tensor:
        """(B, channels, size, size) and optional side inputs -> (B, C, V)."""
        return self.diffusion.condition(self.tokens(images), side_inputs)

    def parameter_counts(self) -> ParameterCounts:
        """Counted by part; the parts sum to the total."""
        parts = self.diffusion
        encoder, denoiser, projections = (
            sum(
                parameter.numel()
                for module in modules
                if isinstance(module, nn.Module)
                for parameter in module.parameters()
            )
            for modules in (
                (self.encoder, parts.conditioner),
                (parts.denoiser, parts.self_conditioning, parts.length_head),
                (parts.embedding, parts.output),
            )
        )
        encoder += parts.null_token.numel()
        return ParameterCounts(encoder, denoiser, projections, encoder + denoiser + projections)
