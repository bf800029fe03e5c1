"""An encoder that accepts images, or features that were computed before."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from addkit.plugin import Problem
from addkit.plugin.protocols import DataSource, Encoder
from addkit_features.settings import FrozenFeaturesConfig, inner
from addkit_features.source import FeatureSource


class FrozenFeatures(nn.Module):
    """Images (B, channels, size, size), or their tokens (B, L, W), -> tokens (B, L, W)."""

    def __init__(self, config: FrozenFeaturesConfig, problem: Problem) -> None:
        """Raises `PluginError` if `config.of` is no encoder."""
        super().__init__()
        spec, settings = inner(config.of)
        encoder: Encoder = spec.create(settings, problem)
        self.encoder = cast("nn.Module", encoder).requires_grad_(False).eval()
        self.config, self.seed = config, problem.seed
        self.width, self.num_tokens = encoder.width, encoder.num_tokens
        self.num_prefix_tokens = encoder.num_prefix_tokens

    def train(self, mode: bool = True) -> FrozenFeatures:
        """As `nn.Module.train`, but the encoder stays in evaluation mode."""
        # Dropout and batch norm would make features differ from those on disk.
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) or (B, L, W) -> (B, L, W)."""
        if images.ndim == 3:
            return images  # features of a FeatureSource, (B, L, W)
        tokens: Tensor = self.encoder(images)
        return tokens

    def serve(self, source: DataSource) -> DataSource:
        """The data with features in place of images. Raises `RecipeError` for endless views."""
        return FeatureSource(source, self.encoder, self.config, self.seed)
