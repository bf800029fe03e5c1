"""Settings of data sets with joint labels: several labels of one image that depend on each other.

Their labels share one vocabulary of class ids; `DataFacts.token_classes` says which of them each
token can take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from addkit.data.settings import DataConfig, Deviation, OwnImagesConfig


class AttributeTableConfig(OwnImagesConfig):
    """Your own images: a CSV file with a column of image files and one for each attribute."""

    file: Path = Field(description="The table, UTF-8; its first line names the columns.")
    separator: str = Field(
        ",", min_length=1, max_length=1, description='What stands between cells, such as "\\t".'
    )
    root: Path | None = Field(
        None, description="Folder that image files are named from; by default the table's own."
    )
    image_column: str = Field("image", description="The column of image files.")
    attributes: tuple[str, ...] = Field(
        (), description="Columns to predict; by default all but the image's and the split's."
    )
    split_column: str = Field(
        "", description='A column of "train", "validation" and "test"; "": shares are held out.'
    )
    test_share: float = Field(
        0.2, gt=0, lt=1, description="Share of the images in `test` without a split column."
    )
    missing: tuple[str, ...] = Field(
        ("", "NA", "?"), description="Cells that say that nobody knows the value."
    )
    unknown_values: Literal["stop", "missing"] = Field(
        "stop", description="What to do about values that only validation or test rows have."
    )
    max_classes: int = Field(
        1000, ge=2, description="An attribute with more values than this is an error."
    )
    validation: float = Field(
        0.0, ge=0, lt=1, description="Share of the training rows held out as `validation`."
    )

    @model_validator(mode="after")
    def attributes_are_columns_of_their_own(self) -> AttributeTableConfig:
        """Each is named once, and none is the column of images or splits."""
        taken = [self.image_column, self.split_column]
        for place, name in enumerate(self.attributes):
            if name in [*taken, *self.attributes[:place]]:
                raise ValueError(f'attributes: the column "{name}" has a role already')
        return self


class EmojiAttributesConfig(DataConfig):
    """Group, gender and skin tone of 3,788 drawings of emoji (OFL 1.1). They come with addkit.

    What `test` and `validation` show is in train, yet in another gender or tone.
    """

    attributes: tuple[Literal["group", "gender", "tone"], ...] = Field(
        ("group", "gender", "tone"), min_length=1, description="Which of them to predict."
    )
    image_size: int = Field(64, ge=4, le=4096, description="Height and width; 64 as they are.")
    mean: tuple[float, ...] = Field((0.8, 0.8, 0.8), description="Taken off each channel.")
    std: tuple[Deviation, ...] = Field((0.3, 0.3, 0.3), description="Divides each channel.")
    validation: float = Field(
        0.05, ge=0, lt=1, description="Share of train held out as `validation`."
    )

    @property
    def image_channels(self) -> int:
        """Colour."""
        return 3

    @model_validator(mode="after")
    def each_attribute_once(self) -> EmojiAttributesConfig:
        """An attribute is one token, not two."""
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"attributes: named twice in {', '.join(self.attributes)}")
        return self


class OutfitsConfig(DataConfig):
    """Four noisy pieces of Fashion-MNIST in one picture, and few combinations of classes allowed.

    One piece is hard to tell, and the list of combinations ties the four together.
    """

    root: Path = Field(
        Path("data/fashion-mnist"),
        description="Folder of the four IDX files (plain or .gz), or of FashionMNIST/raw.",
    )
    combinations: int = Field(
        64, ge=2, le=10_000, description="How many of the 10,000 combinations are allowed."
    )
    combination_seed: int = Field(0, ge=0, description="Which combinations are allowed.")
    noise: float = Field(
        2.0, ge=0, description="Deviation of the noise, where Fashion-MNIST's pixels have 1."
    )
    train_size: int = Field(19_200, ge=1, description="Fresh outfits in an epoch.")
    test_size: int = Field(2000, ge=1, description="Outfits of test images, always the same.")
    validation_size: int = Field(2000, ge=1, description="Outfits of held-out training images.")
    image_size: int = Field(14, ge=14, le=4096, description="Height and width; 14 as they are.")
    mean: tuple[float, ...] = Field((0.5,), description="Taken off each pixel.")
    std: tuple[Deviation, ...] = Field((0.125,), description="Divides each pixel.")
    validation: float = Field(
        0.1, ge=0, lt=1, description="Share of the training images kept for `validation` outfits."
    )
