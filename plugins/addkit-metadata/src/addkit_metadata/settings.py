"""Settings of the components; imported when a recipe names one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from addkit.data.settings import ColourConfig, TableConfig
from addkit.plugin import Config
from addkit.plugin.config import (
    Chance,
    Channels,
    Deviations,
    ImageSize,
    Names,
    Share,
    TestShare,
    Width,
)

Kind = Literal["number", "category"]


class MetadataConfig(Config):
    """A token for each column beside the image's: c = (P z, e_1(x_1), ..., e_M(x_M)).

    A number x, standardised, is read by an MLP from (x, sin w_k x, cos w_k x), w_k = 2^k pi / 4; a
    category has a row of a table. What is missing has a learned vector of its own.
    """

    width: Width = Field(64, description="V, width of the condition.")
    image: Literal["mean", "all", "none"] = Field(
        "mean", description="The image as one token, their mean, as all of them, or not at all."
    )
    columns: Names = Field(
        (), description="Which columns to read; by default all numbers and categories."
    )
    frequencies: Annotated[int, Field(ge=0, le=64)] = Field(
        4, description="Number of frequencies w_k."
    )
    dropout: Chance = Field(
        0.0,
        description="Share of cells that training drops, so that answers can do without.",
    )


class ImageTableConfig(TableConfig):
    """Your own images: a CSV file with a column of image files, one of labels, and others."""

    label_column: str = Field("label", description="The column of classes.")
    columns: dict[str, Kind] = Field(
        {},
        description="Columns of side inputs and their kinds; by default all others, each a number "
        "if most of its cells are.",
    )
    split_column: str = Field(
        "", description='A column of "train", "validation" and "test"; "": shares are held out.'
    )
    test_share: TestShare = Field(
        0.2, description="Share of each class in `test` without a split column."
    )
    missing: Names = Field(("", "NA", "?"), description="Cells that mean a missing value.")
    unknown_categories: Literal["stop", "missing"] = Field(
        "stop", description="How to treat categories that no training row has."
    )

    @model_validator(mode="after")
    def columns_are_of_their_own(self) -> ImageTableConfig:
        """The columns of images, labels and splits are no side inputs."""
        for name in (self.image_column, self.label_column, self.split_column):
            if name in self.columns:
                raise ValueError(f'columns: the column "{name}" has a role already')
        return self


class EmojiColumnsConfig(ColourConfig):
    """The group of 3,788 drawings of emoji, with gender, skin tone and number of words as columns.

    Nothing that `test` and `validation` show is in train, in any variant. A share of all cells is
    missing. The drawings come with addkit (OFL 1.1; Unicode).
    """

    missing: Share = Field(0.3, description="Share of cells that are missing.")
    test_share: TestShare = Field(0.3, description="Share of each group's things in test.")
    image_size: ImageSize = Field(16, description="Height and width, of 64.")
    mean: Channels = Field((0.81, 0.78, 0.75), description="Subtracted from each channel.")
    std: Deviations = Field((0.28, 0.3, 0.33), description="Divides each channel.")
