"""Settings of the built-in denoisers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from addkit.plugin.config import Chance, Config, Depth, Share, Width

SKIP = Field(
    False,
    description="Bayes skip: logits += c_t y_t, so that the network learns log p(k | image) alone.",
)
TIME = Field(True, description="Read t. A posterior embedding contains all that t adds.")


class TransformerConfig(Config):
    """Blocks in which label tokens attend to themselves and to a condition prepared once."""

    width: Width = Field(512, description="D, width of the embedded state and the features.")
    depth: Depth = Field(5, description="Blocks.")
    heads: Depth = Field(8, description="Attention heads; they share the width.")
    mlp_ratio: Annotated[float, Field(ge=0.01, le=100)] = Field(
        4.0, description="Hidden width of a block's MLP over the width."
    )
    dropout: Chance = Field(0.0, description="Share of features set to 0 in training.")
    time: bool = TIME
    bayes_skip: bool = SKIP
    self_condition: Share = Field(
        0.0,
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

    width: Width = Field(256, description="D, width of the embedded state and the features.")
    depth: Depth = Field(2, description="Blocks.")
    dropout: Chance = Field(0.0, description="Share of features set to 0 in training.")
    time: bool = TIME
    bayes_skip: bool = SKIP


class LinearConfig(Config):
    """A multinomial regression on the condition and the Bayes skip; for one label."""

    bayes_skip: bool = Field(True, description="Always true: all it reads of a noisy label.")

    @field_validator("bayes_skip")
    @classmethod
    def is_on(cls, value: bool) -> bool:
        """Without the skip it would ignore noisy labels, as a control does."""
        if not value:
            raise ValueError('it must be true; the denoiser "control" reads no noisy label')
        return value


class ControlConfig(Config):
    """A classifier in the denoiser's place: same encoder, data, budget and code path."""

    head: Literal["linear", "mlp"] = Field("linear", description="Network on top of the condition.")
    width: Width = Field(256, description="Width of the mlp head.")
    depth: Depth = Field(2, description="Blocks of the mlp head.")
    hidden: Annotated[int, Field(ge=1, le=2**20)] | None = Field(
        None, description="Hidden width of a block; 4 x width if not given."
    )
    dropout: Chance = Field(0.0, description="Share of features set to 0 in training.")
