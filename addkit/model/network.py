"""The whole network: encoder and label diffusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

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

    frozen: bool
    """False from `unfreeze` on."""
    later: frozenset[str]
    """Names of the parameters that `unfreeze` lets be trained."""

    def __init__(self, encoder: Encoder, diffusion: LabelDiffusion, *, frozen: bool) -> None:
        super().__init__()
        self.encoder = cast("nn.Module", encoder)
        self.diffusion = diffusion
        self.frozen, self.later = frozen, frozenset()
        if frozen:
            # An encoder may have fixed parameters of its own, such as position embeddings.
            self.later = frozenset(n for n, p in self.named_parameters() if p.requires_grad)
            self.encoder.requires_grad_(False)
            self.later -= {n for n, p in self.named_parameters() if p.requires_grad}

    def unfreeze(self) -> None:
        """Let a frozen encoder be trained. Its batch norms keep their statistics."""
        self.frozen = False
        for name, parameter in self.named_parameters():
            if name in self.later:
                parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> Network:
        """Set the mode as `nn.Module.train` does; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        # Else its batch norms would go on counting statistics, and dropout would change features.
        if self.frozen:
            self.encoder.eval()
        elif self.later:
            # With the statistics of a batch the features would jump when training of the encoder
            # begins, and the rest of the network was trained on those before.
            for module in self.encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def recompute_activations(self) -> None:
        """Store only the inputs of blocks, in parts that support it; gradients stay the same."""
        for part in (self.encoder, self.diffusion.denoiser):
            recompute = getattr(part, "recompute_activations", None)
            if recompute is not None:
                recompute()

    def pool(self, tokens: Tensor) -> Tensor:
        """What the conditioner reads of the encoder's tokens, (B, L, W) -> (B, L', W)."""
        pool: Callable[[Tensor], Tensor] | None = getattr(self.diffusion.conditioner, "pool", None)
        return tokens if pool is None else pool(tokens)

    def tokens(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, L, W); features (B, L', W) computed before stay."""
        if images.ndim == 3:
            return images
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
