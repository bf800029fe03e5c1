"""Settings of the built-in encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from addkit.plugin.config import Chance, Config, Depth, Width
from addkit.plugin.values import EncoderInput


class EncoderConfig(Config):
    """Settings of every encoder."""

    frozen: bool = Field(
        False,
        description="Keep the encoder's weights as they are: for ever, or for the first "
        "training.unfreeze_after epochs.",
    )
    lr_scale: Annotated[float, Field(ge=1e-6, le=1000)] = Field(
        1.0, description="Learning rate of the encoder's weights, as a share of training.lr."
    )


class PretrainedConfig(EncoderConfig):
    """A timm model."""

    model: str = Field(description="timm's name, with a tag for given weights: NAME.TAG.")
    pretrained: bool = Field(
        False, description="Download timm's weights for the name and tag, once."
    )
    weights: Path | None = Field(
        None, description="Load this local file (.safetensors or .pth) instead of a download."
    )
    drop_path: Chance = Field(0.0, description="Stochastic depth.")

    def expected_input(self) -> EncoderInput | None:
        """timm's data configuration of the model, whichever file its weights are from."""
        if not self.pretrained and self.weights is None:
            return None
        # Imported here, since timm loads torch.
        from addkit.encoders.pretrained import expected_input

        return expected_input(self.model)

    def fetch_weights(self) -> None:
        """Download timm's weights, unless they are cached or a local file replaces them."""
        if self.pretrained and self.weights is None:
            from addkit.encoders.pretrained import weights_file

            weights_file(self.model)


class VitConfig(PretrainedConfig):
    """A timm vision transformer. The sizes below override the named model's."""

    model: str = Field("vit_base_patch16_224", description="timm's name, with or without a tag.")
    class_tokens: Depth | None = Field(
        None, description="Learned class tokens (figure 2b); the model's own if not given."
    )
    patch_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Pixels; the model's own if not given."
    )
    width: Width | None = Field(None, description="Token width; the model's own if not given.")
    depth: Depth | None = Field(None, description="Blocks; the model's own if not given.")
    heads: Depth | None = Field(None, description="The model's own number if not given.")


class TimmConfig(PretrainedConfig):
    """Any timm backbone; its last feature map becomes the tokens."""

    pool: bool = Field(
        False,
        description="One token in place of the map: the features that the model's own classifier "
        "reads.",
    )


class CnnConfig(EncoderConfig):
    """A small convolutional network for small images."""

    widths: tuple[Annotated[int, Field(ge=1, le=2**16)], ...] = Field(
        (32, 64, 128),
        min_length=1,
        max_length=12,
        description="Channels; the size halves between them.",
    )
    blocks: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="Convolutions for each width."
    )
    dropout: Chance = Field(0.0, description="Share of features set to 0 in training.")
