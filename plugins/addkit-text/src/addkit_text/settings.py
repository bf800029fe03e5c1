"""Settings of the components; imported when a recipe names one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from addkit.data.settings import ColourConfig, TableConfig
from addkit.plugin import Config
from addkit.plugin.config import (
    Chance,
    Channels,
    Depth,
    Deviations,
    ImageSize,
    Share,
    TestShare,
    Weight,
    Width,
)


class TextConfig(Config):
    """c = (P z, W f(s)): the image's tokens and the feature of a sentence s.

    f is the text tower of a CLIP (Radford et al. 2021), any of open_clip's or a small one from
    scratch; a missing sentence has a learned vector in place of its feature.
    """

    model: str = Field(
        "", description='open_clip\'s name, with a tag for its weights: NAME.TAG; "": a small one.'
    )
    pretrained: bool = Field(False, description="Load open_clip's weights for the name and tag.")
    weights: Path | None = Field(None, description="Load this local file of a whole CLIP instead.")
    frozen: bool = Field(False, description="Keep the tower's weights as they are.")
    width: Width = Field(64, description="V, width of the condition; of a small tower too.")
    depth: Depth = Field(2, description="Blocks of a small tower.")
    heads: Depth = Field(4, description="Heads of a small tower.")
    context: int = Field(24, ge=4, le=512, description="Subwords that a small tower reads.")
    image: Literal["mean", "all", "none"] = Field(
        "mean", description="The image as one token, their mean, as all of them, or not at all."
    )
    column: str = Field("", description='The text column to read; "": the first.')
    dropout: Chance = Field(
        0.0,
        description="Share of sentences that training drops, so that answers can do without.",
    )

    @model_validator(mode="after")
    def weights_have_a_model(self) -> TextConfig:
        """Weights belong to a named model, and have one source."""
        if self.pretrained and self.weights is not None:
            raise ValueError("give pretrained = true or a weights file, not both")
        if (self.pretrained or self.weights is not None) and not self.model:
            raise ValueError('name the model that the weights are of, such as model = "ViT-B-32"')
        if self.pretrained and "." not in self.model:
            raise ValueError("pretrained needs a tag: model = NAME.TAG")
        if self.width % self.heads and not self.model:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self


class TableTextConfig(TableConfig):
    """A CSV file with a column of sentences, one of labels and, perhaps, one of image files."""

    image_column: str = Field("image", description='The column of image files; "": no images.')
    text_column: str = Field("text", description="The column of sentences; empty where unknown.")
    label_column: str = Field("label", description="The column of classes.")
    test_share: TestShare = Field(0.2, description="Share of each class in `test`.")


class EmojiSentencesConfig(ColourConfig):
    """The group of 3,788 drawings of emoji behind noise, each with its name as a sentence.

    For what `test` and `validation` show, train may have another variant: another gender, or tone.
    Drawings and names come with addkit (OFL 1.1; Unicode).
    """

    noise: Weight = Field(
        0.5,
        description="Standard deviation of the pixels' noise, fixed for each image.",
    )

    missing: Share = Field(0.0, description="Share of sentences that are missing.")
    test_share: TestShare = Field(0.3, description="Share of each group in test.")
    image_size: ImageSize = Field(16, description="Height and width, of 64.")
    mean: Channels = Field((0.81, 0.78, 0.75), description="Subtracted from each channel.")
    std: Deviations = Field((0.28, 0.3, 0.33), description="Divides each channel.")
