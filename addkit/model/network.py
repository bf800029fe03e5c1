"""The whole network: encoder and label diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from addkit.diffusion import LabelDiffusion
from addkit.diffusion.model import shaped
from addkit.plugin.protocols import Encoder
from addkit.plugin.values import SideInputs


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
        encoder: images -> tokens, z = E(x).
        diffusion: tokens -> logits of labels.
        frozen: the encoder's weights are not trained; it runs in evaluation mode.
    """

    def __init__(self, encoder: Encoder, diffusion: LabelDiffusion, *, frozen: bool) -> None:
        super().__init__()
        self.encoder = cast("nn.Module", encoder)
        self.diffusion = diffusion
        self.frozen = frozen
        if frozen:
            self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> Network:
        """Set the mode as `nn.Module.train` does; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        # Else its batch norms would go on counting statistics, and dropout would change features.
        if self.frozen:
            self.encoder.eval()
        return self

    def recompute_activations(self) -> None:
        """Store only the inputs of blocks, in parts that support it; gradients stay the same."""
        for part in (self.encoder, self.diffusion.denoiser):
            recompute = getattr(part, "recompute_activations", None)
            if recompute is not None:
                recompute()

    def tokens(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, L, W)."""
        # A frozen encoder's activations are not kept; under no_grad the caller's mode stays.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens: Tensor = self.encoder(images)
        width = cast("Encoder", self.encoder).width
        shape = getattr(tokens, "shape", ())
        if (*shape[:1], *shape[2:]) != (len(images), width):
            maker = self.diffusion.plugin_names.get("encoder", "")
            shaped(tokens, (len(images), "L", width), "encoder", "tokens", maker)
        return tokens  # (B, L, W)

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
                # None where there is no such part, and a third party's part without weights.
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
