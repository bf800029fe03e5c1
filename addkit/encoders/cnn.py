"""A small convolutional encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from addkit.encoders.settings import CnnConfig


class CnnEncoder(nn.Module):
    """3x3 convolutions with batch norm; the size halves between widths. Tokens are positions.

    Args:
        config: widths, blocks and dropout.
        image_channels: of the image.
        image_size: pixels; num_tokens follows.
    """

    num_prefix_tokens = 0

    def __init__(self, config: CnnConfig, image_channels: int, image_size: int) -> None:
        super().__init__()
        self.width = config.widths[-1]
        layers: list[nn.Module] = []
        size = image_size
        for stage, width in enumerate(config.widths):
            if stage:
                # Rounding up, so that any image size goes with any number of stages.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                size = -(-size // 2)
            for _ in range(config.blocks):
                layers += [
                    # Batch norm has a bias of its own.
                    nn.Conv2d(image_channels, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                image_channels = width
        # Twice as fast as channels first on CPUs, and no slower on GPUs.
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.dropout = nn.Dropout(config.dropout)
        self.num_tokens = size * size

    def forward(self, images: Tensor) -> Tensor:
        """(B, image_channels, size, size) -> (B, L, W)."""
        # (B, image_channels, S, S) in the layout of the weights.
        images = images.contiguous(memory_format=torch.channels_last)
        features = self.layers(images).flatten(2).transpose(1, 2)  # (B, W, h, w) -> (B, h w, W)
        out: Tensor = self.dropout(features)
        return out
