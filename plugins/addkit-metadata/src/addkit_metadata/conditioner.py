"""A condition from an image and its numbers and categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from addkit.errors import RecipeError, guess
from addkit.plugin import Problem
from addkit.plugin.values import Column, SideInputs
from addkit_metadata.settings import MetadataConfig


class Metadata(nn.Module):
    """Tokens (B, L, W) and columns -> condition (B, image tokens + columns, V)."""

    reads_side_inputs = True

    def __init__(self, config: MetadataConfig, problem: Problem) -> None:
        """Raises `RecipeError` for a column that the data lacks or that is a text."""
        super().__init__()
        self.config, self.width = config, config.width
        self.columns = _chosen(config.columns, problem.columns)
        self.prefix = problem.num_prefix_tokens
        image_tokens = {"mean": 1, "all": problem.num_encoder_tokens, "none": 0}[config.image]
        self.num_tokens = max(1, image_tokens + len(self.columns))
        self.project = nn.Sequential(
            nn.LayerNorm(problem.encoder_width), nn.Linear(problem.encoder_width, config.width)
        )
        self.readers = nn.ModuleList(
            NumberReader(config) if column.kind == "number" else CategoryReader(column, config)
            for column in self.columns
        )

    def forward(self, tokens: Tensor, side_inputs: SideInputs) -> Tensor:
        """(B, L, W) and B rows of each column -> (B, C, V)."""
        parts = []  # of shapes (B, C_i, V)
        if self.config.image == "mean":
            parts.append(self.project(tokens[:, self.prefix :].mean(1, keepdim=True)))
        elif self.config.image == "all":
            parts.append(self.project(tokens))
        for column, reader in zip(self.columns, self.readers, strict=True):
            parts.append(reader(self._with_dropout(side_inputs[column.name])).unsqueeze(1))
        if not parts:
            # No image and no column: one zero token, through which gradients still reach `project`.
            parts = [self.project(tokens.mean(1, keepdim=True)) * 0]
        return torch.cat(parts, 1)

    def _with_dropout(self, value: Tensor | tuple[str, ...]) -> Tensor:
        """The column (B,), in training with some rows as if they were missing."""
        column = cast("Tensor", value)
        if not (self.training and self.config.dropout):
            return column
        dropped = torch.rand(column.shape, device=column.device) < self.config.dropout
        # Missing is NaN for numbers and -1 for categories, as in batches.
        return column.masked_fill(dropped, math.nan if column.is_floating_point() else -1)


class NumberReader(nn.Module):
    """A standardised number (B,), NaN where missing -> (B, V)."""

    frequencies: Tensor

    def __init__(self, config: MetadataConfig) -> None:
        super().__init__()
        octaves = 2.0 ** torch.arange(config.frequencies) * math.pi / 4
        self.register_buffer("frequencies", octaves, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(1 + 2 * config.frequencies, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
        )
        self.missing = nn.Parameter(torch.randn(config.width) * 0.02)

    def forward(self, number: Tensor) -> Tensor:
        """(B,) -> (B, V)."""
        # Clamped, since a far outlier would outweigh every other input of the layers.
        # NaN is replaced before the layers: through torch.where alone its gradient stays NaN.
        x = number.nan_to_num().clamp(-6, 6).unsqueeze(-1)  # (B, 1)
        angles = x * self.frequencies  # (B, frequencies)
        read = self.layers(torch.cat([x, angles.sin(), angles.cos()], -1))
        return torch.where(number.isnan().unsqueeze(-1), self.missing.to(read.dtype), read)


class CategoryReader(nn.Module):
    """A category (B,), -1 where missing -> (B, V)."""

    def __init__(self, column: Column, config: MetadataConfig) -> None:
        super().__init__()
        self.rows = nn.Embedding(len(column.categories) + 1, config.width)

    def forward(self, category: Tensor) -> Tensor:
        """(B,) -> (B, V)."""
        row: Tensor = self.rows(category + 1)  # row 0 is the missing value's
        return row


def _chosen(names: Sequence[str], columns: Sequence[Column]) -> tuple[Column, ...]:
    readable = {column.name: column for column in columns if column.kind != "text"}
    for name in names:
        if name not in readable:
            raise RecipeError(
                f'[conditioner] columns: the data has no number or category "{name}"'
                f"{guess(name, readable)}; it has: {', '.join(readable) or 'none'}"
            )
    return tuple(readable[name] for name in names or readable)
