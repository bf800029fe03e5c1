"""Numbers and categories beside the image: a conditioner that reads them, and their data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from addkit.data.settings import DataConfig, Deviation, OwnImagesConfig
from addkit.plugin import ConditionerSpec, Config, DataSpec, Problem, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Conditioner, DataSource

__all__ = ["EmojiColumnsConfig", "ImageTableConfig", "MetadataConfig"]

ADDKIT_API = 2
"""The version of addkit's plugin interface that this is written for."""

Kind = Literal["number", "category"]


class MetadataConfig(Config):
    """A token for each column beside the image's: c = (P z, e_1(x_1), ..., e_M(x_M)).

    A number x, standardised, is read by an MLP from (x, sin w_k x, cos w_k x), w_k = 2^k pi / 4; a
    category has a row of a table. What is missing has a learned vector of its own.
    """

    width: int = Field(64, ge=8, description="V, width of the condition.")
    image: Literal["mean", "all", "none"] = Field(
        "mean", description="The image as one token, their mean, as all of them, or not at all."
    )
    columns: tuple[str, ...] = Field(
        (), description="Which columns to read; by default all numbers and categories."
    )
    frequencies: int = Field(4, ge=0, description="Sines and cosines of each number.")
    corrupt: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Chance that training hides a column, so that answers do without.",
    )


class ImageTableConfig(OwnImagesConfig):
    """Your own images: a CSV file with a column of image files, one of labels, and others."""

    file: Path = Field(description="The table, UTF-8; its first line names the columns.")
    separator: str = Field(
        ",", min_length=1, max_length=1, description="What stands between cells."
    )
    root: Path | None = Field(
        None, description="Folder that image files are named from; by default the table's own."
    )
    image_column: str = Field("image", description="The column of image files.")
    label_column: str = Field("label", description="The column of classes.")
    columns: dict[str, Kind] = Field(
        {},
        description="Columns to hand out, and what they hold; by default all others, each a number "
        "if most of its cells are.",
    )
    split_column: str = Field(
        "", description='A column of "train", "validation" and "test"; "": shares are held out.'
    )
    test_share: float = Field(
        0.2, gt=0, lt=1, description="Share of each class in `test` without a split column."
    )
    missing: tuple[str, ...] = Field(
        ("", "NA", "?"), description="Cells that say that nobody knows the value."
    )
    unknown_categories: Literal["stop", "missing"] = Field(
        "stop", description="What to do about categories that no training row has."
    )

    @model_validator(mode="after")
    def columns_are_of_their_own(self) -> ImageTableConfig:
        """None is the column of images, labels or splits."""
        for name in (self.image_column, self.label_column, self.split_column):
            if name in self.columns:
                raise ValueError(f'columns: the column "{name}" has a role already')
        return self


class EmojiColumnsConfig(DataConfig):
    """The group of 3,788 drawings of emoji; beside them gender, skin tone and words of the name.

    What `test` and `validation` show is not in train in any variant. A share of all cells is
    missing. The drawings come with addkit (OFL 1.1; Unicode).
    """

    missing: float = Field(0.3, ge=0, le=1, description="Share of cells that nobody knows.")
    test_share: float = Field(0.3, gt=0, lt=1, description="Share of each group's things in test.")
    image_size: int = Field(16, ge=4, le=4096, description="Height and width, of 64.")
    mean: tuple[float, ...] = Field((0.81, 0.78, 0.75), description="Taken off each channel.")
    std: tuple[Deviation, ...] = Field((0.28, 0.3, 0.33), description="Divides each channel.")

    @property
    def image_channels(self) -> int:
        """Colour."""
        return 3


def _metadata(config: MetadataConfig, problem: Problem) -> Conditioner:
    from addkit_metadata.conditioner import Metadata

    return Metadata(config, problem)


def _image_table(config: ImageTableConfig, problem: Problem) -> DataSource:
    from addkit_metadata.table import ImageTable

    return ImageTable(config)


def _emoji_columns(config: EmojiColumnsConfig, problem: Problem) -> DataSource:
    from addkit_metadata.emoji import EmojiColumns

    return EmojiColumns(config)


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """What this package adds to addkit."""
    yield ConditionerSpec(
        name="metadata",
        config=MetadataConfig,
        build=_metadata,
        provides=frozenset({"side-inputs"}),
        summary="Numbers and categories beside the image, missing ones too.",
    )
    yield DataSpec(
        name="image-table",
        config=ImageTableConfig,
        build=_image_table,
        summary="Your images in a CSV file, with columns beside them.",
    )
    yield DataSpec(
        name="emoji-columns",
        config=EmojiColumnsConfig,
        build=_emoji_columns,
        summary="Emoji with gender, tone and length of name; comes with addkit.",
    )
