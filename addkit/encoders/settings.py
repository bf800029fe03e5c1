"""Settings of the built-in encoders."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from addkit.plugin.config import Config


class EncoderConfig(Config):
    """Settings of every encoder."""

    frozen: bool = Field(False, description="Keep the encoder's weights as they are.")


class PretrainedConfig(EncoderConfig):
    """A timm model."""

    model: str = Field(description="timm's name, with a tag for given weights: NAME.TAG.")
    pretrained: bool = Field(False, description="Load timm's weights for the name and tag.")
    weights: Path | None = Field(
        None, description="Load this local file (.safetensors or .pth) instead."
    )
    drop_path: float = Field(0.0, ge=0, lt=1, description="Stochastic depth.")

    @model_validator(mode="after")
    def one_source_of_weights(self) -> PretrainedConfig:
        """At most one source of weights."""
        if self.pretrained and self.weights is not None:
            raise ValueError("give pretrained = true or a weights file, not both")
        return self


class VitConfig(PretrainedConfig):
    """A timm vision transformer. The sizes below override the named model's."""

    model: str = Field("vit_base_patch16_224", description="timm's name, with or without a tag.")
    class_tokens: int | None = Field(
        None, ge=1, description="Learned class tokens (figure 2b); the model's own if not given."
    )
    patch_size: int | None = Field(None, ge=1, description="Pixels; the model's own if not given.")
    width: int | None = Field(None, ge=8, description="Token width; the model's own if not given.")
    depth: int | None = Field(None, ge=1, description="Blocks; the model's own if not given.")
    heads: int | None = Field(None, ge=1, description="The model's own number if not given.")


class TimmConfig(PretrainedConfig):
    """Any timm backbone; its last feature map becomes the tokens."""


class CnnConfig(EncoderConfig):
    """A small convolutional network for small images."""

    widths: tuple[int, ...] = Field(
        (32, 64, 128), min_length=1, description="Channels; the size halves between them."
    )
    blocks: int = Field(1, ge=1, description="Convolutions for each width.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of features set to 0 in training.")
