"""Settings of the built-in denoisers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from addkit.plugin.config import Config

SKIP = Field(
    False,
    description="Bayes skip: logits += c_t y_t, so that the network learns log p(k | image) alone.",
)
TIME = Field(True, description="Read t. A posterior embedding contains all that t adds.")


class TransformerConfig(Config):
    """Blocks in which label tokens attend to themselves and to a condition prepared once."""

    width: int = Field(512, ge=8, description="D, width of the embedded state and the features.")
    depth: int = Field(5, ge=1, description="Blocks.")
    heads: int = Field(8, ge=1, description="Attention heads; they share the width.")
    mlp_ratio: float = Field(4.0, gt=0, description="Hidden width of a block's MLP over the width.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of features set to 0 in training.")
    time: bool = TIME
    bayes_skip: bool = SKIP
    self_condition: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of training steps that read the features of a first pass; 0 is off.",
    )

    @model_validator(mode="after")
    def whole_heads(self) -> TransformerConfig:
        """Heads share the width evenly."""
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) is no multiple of heads ({self.heads})")
        return self


class MlpConfig(Config):
    """Residual MLP blocks modulated by time and condition; for one label."""

    width: int = Field(256, ge=8, description="D, width of the embedded state and the features.")
    depth: int = Field(2, ge=1, description="Blocks.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of features set to 0 in training.")
    time: bool = TIME
    bayes_skip: bool = SKIP


class ControlConfig(Config):
    """A classifier in the denoiser's place: same encoder, data, budget and code path."""

    head: Literal["linear", "mlp"] = Field("linear", description="Network on top of the condition.")
    width: int = Field(256, ge=8, description="Width of the mlp head.")
    depth: int = Field(2, ge=1, description="Blocks of the mlp head.")
    hidden: int | None = Field(
        None, ge=1, description="Hidden width of a block; 4 x width if not given."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of features set to 0 in training.")
