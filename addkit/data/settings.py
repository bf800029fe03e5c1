"""Settings of the data sets, one class for each. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from addkit.errors import AddkitWarning
from addkit.plugin.config import (
    Chance,
    Channels,
    Config,
    Count,
    Deviations,
    ImageSize,
    Names,
    Seed,
    TestShare,
    Weight,
)
from addkit.plugin.values import EncoderInput, Fit, Interpolation

# torchvision's, which most pretrained encoders expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEFAULT_INPUT = EncoderInput(
    image_size=64,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    interpolation="bicubic",
    crop_share=1.0,
    origin="addkit's defaults",
)
"""The input of an encoder that expects nothing of its own."""

CropShare = Annotated[float, Field(ge=0.1, le=1)]

OutfitCount = Annotated[int, Field(ge=1, le=10**7)]
PieceNoise = Annotated[float, Field(ge=0, le=1e4)] | Literal["no picture"]
"""Deviation of a piece's noise, where Fashion-MNIST's pixels have 1, or noise alone."""
Tokens = Annotated[int, Field(ge=1, le=4096)]


class DataWarning(AddkitWarning):
    """A file was left out, or a name could not be found, as the recipe allows."""


class DataConfig(Config):
    """Settings of every data set. Pixels are in [0, 1]; the encoder reads (pixel - mean) / std."""

    image_size: ImageSize | None = Field(description="Height and width of the input in pixels.")
    mean: Channels | None = Field(description="Subtracted from each channel.")
    std: Deviations | None = Field(description="Divides each channel.")
    validation: Chance = Field(
        0.0, description="Share of each class of train held out as `validation`."
    )
    sampling: Literal["uniform", "balanced"] = Field(
        "uniform",
        description="Images of an epoch: each once, or each class equally often (one label).",
    )
    # Apart from the run's seed, so that runs of several seeds share their splits.
    split_seed: Seed = Field(0, description="Random seed of the held-out images.")

    @property
    def image_channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1

    @property
    def shorter_side(self) -> int | None:
        """Pixels of the shorter side before the centre crop; None where the size is unset."""
        return self.image_size

    def for_encoder(self, expected: EncoderInput) -> Self:
        """These settings, the unset ones of the pixels replaced by what the encoder expects."""
        return self

    def pixel_facts(self) -> dict[str, Any]:
        """The fields of `DataFacts` that describe how a picture becomes the encoder's input."""
        return {
            "image_size": self.image_size,
            "image_channels": self.image_channels,
            "mean": self.mean,
            "std": self.std,
            "shorter_side": self.shorter_side,
        }

    @model_validator(mode="after")
    def one_value_a_channel(self) -> DataConfig:
        """Each of mean and std must fit the channels."""
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.image_channels:
                raise ValueError(
                    f"{key} has {len(values)} values; give {self.image_channels}, one a channel"
                )
        return self


class ColourConfig(DataConfig):
    """Settings of a data set of colour images."""

    @property
    def image_channels(self) -> int:
        """Colour."""
        return 3


class FilesConfig(DataConfig):
    """Settings of image files, which need not be square."""

    fit: Fit = Field(
        "crop",
        description="crop: the square in the middle; letterbox: the whole picture on a square of "
        "the mean colour; squash: the whole picture, stretched. In training augmentation.crop "
        "replaces it.",
    )

    def pixel_facts(self) -> dict[str, Any]:
        """As `DataConfig.pixel_facts`, and the fit."""
        return {**super().pixel_facts(), "fit": self.fit}


class OwnPicturesConfig(FilesConfig):
    """Settings of a user's own pictures: any size, files that may be unreadable.

    Unset settings of the pixels are those that the encoder's pretrained weights expect.
    """

    image_size: ImageSize | None = Field(
        None, description="Height and width of the input; by default the encoder's, else 64."
    )
    mean: Channels | None = Field(
        None, description="Subtracted; by default the encoder's, else ImageNet's."
    )
    std: Deviations | None = Field(
        None, description="Divides; by default the encoder's, else ImageNet's."
    )
    interpolation: Interpolation | None = Field(
        None, description="Of resizing; by default the encoder's, else bicubic."
    )
    crop_share: CropShare | None = Field(
        None,
        description='With fit = "crop" the side of the square / shorter side of the picture; by '
        "default the encoder's, else 1.",
    )
    bad_files: Literal["stop", "skip"] = Field(
        "stop", description="What to do about files that are missing or no readable images."
    )

    @property
    def shorter_side(self) -> int | None:
        """Pixels of the shorter side before the centre crop."""
        if self.image_size is None:
            return None
        return round(self.image_size / (self.crop_share or 1.0))

    def for_encoder(self, expected: EncoderInput) -> Self:
        """These settings, the unset ones of the pixels replaced by what the encoder expects."""
        mean, std = expected.mean, expected.std
        # Grey images have one mean and one std: the averages over the colours.
        if self.image_channels == 1:
            mean, std = ((round(sum(values) / len(values), 6),) for values in (mean, std))
        values = {
            "image_size": expected.image_size,
            "mean": mean,
            "std": std,
            "interpolation": expected.interpolation,
            "crop_share": expected.crop_share,
        }
        return self.model_copy(
            update={key: value for key, value in values.items() if getattr(self, key) is None}
        )

    def pixel_facts(self) -> dict[str, Any]:
        """As `FilesConfig.pixel_facts`, and the interpolation."""
        return {**super().pixel_facts(), "interpolation": self.interpolation}


class DigitsConfig(DataConfig):
    """1,797 handwritten digits of 8 x 8 pixels (UCI, CC BY 4.0). They come with addkit."""

    image_size: ImageSize = Field(8, description="Height and width; 8 as they are.")
    # Mean and deviation of the pixels, as in the other data sets of a fixed source.
    mean: Channels = Field((0.3053,), description="Subtracted from each pixel.")
    std: Deviations = Field((0.376,), description="Divides each pixel.")
    test_share: TestShare = Field(0.3, description="Share of each class in `test`.")


class FashionMNISTConfig(DataConfig):
    """60,000 + 10,000 grey images of clothes, 28 x 28 pixels (MIT licence). Never downloaded."""

    root: Path = Field(
        Path("data/fashion-mnist"),
        description="Folder of the four IDX files (plain or .gz), or of FashionMNIST/raw.",
    )
    image_size: ImageSize = Field(28, description="Height and width; 28 as they are.")
    mean: Channels = Field((0.286,), description="Subtracted from each pixel.")
    std: Deviations = Field((0.353,), description="Divides each pixel.")


class OwnImagesConfig(OwnPicturesConfig):
    """Settings for a user's own images, grey or colour."""

    channels: Literal[1, 3] = Field(3, description="1 for grey, 3 for colour.")

    @property
    def image_channels(self) -> int:
        """The setting `channels`."""
        return self.channels


class ImageFolderConfig(OwnImagesConfig):
    """Your own images: one sub-folder for each class, or such folders under train/ and test/."""

    root: Path = Field(
        description="Folder of class folders, of train/ and test/ (or val/), or of shards."
    )
    test_share: TestShare = Field(
        0.2, description="Share of each class in `test` if there is no test/ or val/."
    )


class ImageNetConfig(ColourConfig, FilesConfig):
    """ImageNet-1k in torchvision's layout: train/ and val/, one folder for each WordNet id."""

    root: Path = Field(
        Path("data/imagenet"), description="Folder of train/ and val/, or of shards."
    )
    image_size: ImageSize = Field(224, description="Height and width in pixels.")
    # 256 / 224 is the usual test transform of ImageNet models, kept for other sizes.
    resize: ImageSize | None = Field(
        None,
        description="Shorter side before the centre crop; by default image_size * 256 / 224.",
    )
    mean: Channels = Field(IMAGENET_MEAN, description="Subtracted from each channel.")
    std: Deviations = Field(IMAGENET_STD, description="Divides each channel.")

    @property
    def shorter_side(self) -> int:
        """Pixels of the shorter side before the centre crop."""
        return self.resize or round(self.image_size * 256 / 224)

    @model_validator(mode="after")
    def crop_fits(self) -> ImageNetConfig:
        """A centre crop cannot be larger than the image that it is cut from."""
        if self.shorter_side < self.image_size:
            raise ValueError(
                f"resize ({self.resize}) must not be below image_size ({self.image_size})"
            )
        return self


class CaptionConfig(ColourConfig):
    """Settings of every data set of captions. Images are colour, transparent parts white."""

    # By default no caption of train is cut, and each ends in a pad, so that its end is learned.
    max_tokens: Tokens | None = Field(
        None,
        description="N: longer captions are cut. By default the longest of train and an end.",
    )


class EmojiConfig(CaptionConfig):
    """3,788 drawings of emoji with their names (OFL 1.1; Unicode). They come with addkit.

    `test` and `validation` consist of combinations that train lacks, such as "man judge medium skin
    tone", of things and words that train has.
    """

    # Only emoji with variants can be held out by combination.
    subset: Literal["variants", "all"] = Field(
        "variants", description="variants: only emoji of three forms or more, 2,251 of the 3,788."
    )
    forms: Literal[1, 3] = Field(
        1, description="3: only captions that end in their one skin tone, each in three orders."
    )
    image_size: ImageSize = Field(64, description="Height and width; 64 as they are.")
    mean: Channels = Field((0.81, 0.78, 0.75), description="Subtracted from each channel.")
    std: Deviations = Field((0.28, 0.3, 0.33), description="Divides each channel.")
    validation: Chance = Field(0.11, description="Share of train held out as `validation`.")


class CocoCaptionsConfig(CaptionConfig, FilesConfig):
    """MS COCO captions of 2014, about five for each of 123,287 photographs. Never downloaded."""

    root: Path = Field(
        Path("data/coco"), description="Folder of captions and images, or of shards."
    )
    # Most captioning papers report on Karpathy's split.
    split: Literal["2014", "karpathy"] = Field(
        "2014",
        description="2014: train2014 against val2014; karpathy: Karpathy's split, 5,000 to test.",
    )
    train_captions: Path = Field(
        Path("annotations/captions_train2014.json"), description="Captions of train2014."
    )
    val_captions: Path = Field(
        Path("annotations/captions_val2014.json"), description="Captions of val2014."
    )
    karpathy: Path = Field(
        Path("dataset_coco.json"), description="Karpathy's split, captions included."
    )
    train_images: Path = Field(Path("train2014"), description="Folder of train2014's images.")
    val_images: Path = Field(Path("val2014"), description="Folder of val2014's images.")
    image_size: ImageSize = Field(
        256, description="Shorter side after resizing; then a centre crop."
    )
    mean: Channels = Field(IMAGENET_MEAN, description="Subtracted; ImageNet's by default.")
    std: Deviations = Field(IMAGENET_STD, description="Divides; ImageNet's by default.")
    # A few long captions would otherwise set N, and cost grows with it.
    max_tokens: Tokens = Field(20, description="N: longer captions are cut.")
    validation: Chance = Field(
        0.0, description="Share of the images of train2014 held out as `validation`."
    )

    @model_validator(mode="after")
    def karpathy_has_validation(self) -> CocoCaptionsConfig:
        """Karpathy's split has 5,000 validation images of its own."""
        if self.split == "karpathy" and self.validation:
            raise ValueError(
                f"validation ({self.validation}) must be 0: Karpathy's split has its own"
            )
        return self


class CaptionFolderConfig(OwnPicturesConfig, CaptionConfig):
    """Your own pictures and captions: CSV, JSON lines, COCO's json, or a text for each picture."""

    root: Path = Field(description="Folder of the captions and the images, or of shards.")
    captions: Path = Field(
        Path("captions.csv"),
        description="File in root: .csv, .tsv or .jsonl, a line for each caption, or COCO-style "
        '.json; "*.txt": NAME.txt beside each picture.',
    )
    images: Path = Field(Path(), description="Folder in root that image names are relative to.")
    image_column: str = Field("image", description="Column (or key) of the image's file name.")
    caption_column: str = Field("caption", description="Column (or key) of the caption.")
    test_share: TestShare = Field(0.2, description="Share of the images in `test`.")
    validation: Chance = Field(
        0.0, description="Share of the other images held out as `validation`."
    )


class TableConfig(OwnImagesConfig):
    """Your own images: a CSV file with a column of image files."""

    file: Path = Field(description="The table, UTF-8; its first line names the columns.")
    separator: str = Field(
        ",",
        min_length=1,
        max_length=1,
        pattern=r'^[^"\r\n]',
        description='Character between cells; ";", tab and "|" are found where it does not fit.',
    )
    root: Path | None = Field(
        None, description="Folder that image files are named from; by default the table's own."
    )
    image_column: str = Field("image", description="The column of image files.")


class AttributeTableConfig(TableConfig):
    """Your own images: a CSV file with a column of image files and one for each attribute."""

    attributes: Names = Field(
        (), description="Columns to predict; by default all but the image's and the split's."
    )
    split_column: str = Field(
        "", description='A column of "train", "validation" and "test"; "": shares are held out.'
    )
    test_share: TestShare = Field(
        0.2, description="Share of the images in `test` without a split column."
    )
    # Spreadsheets leave unknown cells empty, R writes NA, the UCI archive ?.
    missing: Names = Field(("", "NA", "?"), description="Cells that mark an unknown value.")
    # A value that only a test row has is more often a typing error than a rare value.
    unknown_values: Literal["stop", "missing"] = Field(
        "stop", description="What to do about values that only validation or test rows have."
    )
    # A column of ids or free text would otherwise become an attribute by accident.
    max_classes: Annotated[int, Field(ge=2, le=10**9)] = Field(
        1000, description="An attribute with more values than this is an error."
    )
    validation: Chance = Field(
        0.0, description="Share of the training rows held out as `validation`."
    )

    @model_validator(mode="after")
    def attributes_are_columns_of_their_own(self) -> AttributeTableConfig:
        """Each is named once, and none is the column of images or splits."""
        taken = [self.image_column, self.split_column]
        for index, name in enumerate(self.attributes):
            if name in [*taken, *self.attributes[:index]]:
                raise ValueError(f'attributes: the column "{name}" has a role already')
        return self


class OwnTagsConfig(OwnPicturesConfig):
    """Settings of a user's own images with tags."""

    tags: Names = Field((), description="Tags to predict; by default all with enough images.")
    # A tag of one or two images cannot be learned, and each costs a token.
    least_images: Count = Field(
        1, description="Training images of a tag that is predicted, unless tags are named."
    )
    test_share: TestShare = Field(
        0.2, description="Share of the images in `test`, if the data have no splits of their own."
    )
    validation: Chance = Field(
        0.1, description="Share of the training images held out as `validation`, for thresholds."
    )

    @model_validator(mode="after")
    def each_tag_once(self) -> Self:
        """A tag is one token, not two."""
        twice = [tag for index, tag in enumerate(self.tags) if tag in self.tags[:index]]
        if twice:
            raise ValueError(f'tags: "{twice[0]}" is named twice')
        return self


class TagTableConfig(TableConfig, OwnTagsConfig):
    """Your own images: a CSV file with a column of image files and one of tags."""

    tag_column: str = Field("tags", description="The column of tags; an empty cell has none.")
    tag_separator: str = Field(
        ";", min_length=1, max_length=8, description="Text between the tags of a cell."
    )
    split_column: str = Field(
        "", description='A column of "train", "validation" and "test"; "": shares are held out.'
    )


class TagFolderConfig(OwnImagesConfig, OwnTagsConfig):
    """Your own images: one folder for each tag; equal files in several folders have all tags."""

    root: Path = Field(description="Folder of the tags' folders, or of train/ and test/ (or val/).")


class CocoTagsConfig(ColourConfig, FilesConfig):
    """MS COCO's 80 categories of 2014: which of them a photograph shows. Never downloaded."""

    root: Path = Field(Path("data/coco"), description="Folder of annotations and images.")
    train_instances: Path = Field(
        Path("annotations/instances_train2014.json"), description="Instances of train2014."
    )
    val_instances: Path = Field(
        Path("annotations/instances_val2014.json"), description="Instances of val2014."
    )
    train_images: Path = Field(Path("train2014"), description="Folder of train2014's images.")
    val_images: Path = Field(Path("val2014"), description="Folder of val2014's images.")
    image_size: ImageSize = Field(448, description="Height and width in pixels.")
    mean: Channels = Field(IMAGENET_MEAN, description="Subtracted; ImageNet's by default.")
    std: Deviations = Field(IMAGENET_STD, description="Divides; ImageNet's by default.")
    validation: Chance = Field(
        0.05, description="Share of train2014 held out as `validation`, for thresholds."
    )


class EmojiTagsConfig(ColourConfig):
    """3,788 drawings of emoji, the words of their names as tags (OFL 1.1; Unicode). They come with
    addkit.

    `test` and `validation` consist of variants of things that `train` has, such as another tone.
    """

    least_images: Count = Field(24, description="Training images of a tag that is predicted.")
    test_share: TestShare = Field(0.2, description="Share of the images in `test`.")
    image_size: ImageSize = Field(64, description="Height and width; 64 as they are.")
    mean: Channels = Field((0.8, 0.8, 0.8), description="Subtracted from each channel.")
    std: Deviations = Field((0.3, 0.3, 0.3), description="Divides each channel.")
    validation: Chance = Field(0.1, description="Share of train held out as `validation`.")


class EmojiAttributesConfig(ColourConfig):
    """Group, gender and skin tone of 3,788 drawings of emoji (OFL 1.1). They come with addkit.

    Emoji of `test` and `validation` are in train too, in another gender or tone.
    """

    attributes: tuple[Literal["group", "gender", "tone"], ...] = Field(
        ("group", "gender", "tone"), min_length=1, description="Attributes to predict."
    )
    image_size: ImageSize = Field(64, description="Height and width; 64 as they are.")
    mean: Channels = Field((0.8, 0.8, 0.8), description="Subtracted from each channel.")
    std: Deviations = Field((0.3, 0.3, 0.3), description="Divides each channel.")
    validation: Chance = Field(0.05, description="Share of train held out as `validation`.")

    @model_validator(mode="after")
    def each_attribute_once(self) -> EmojiAttributesConfig:
        """An attribute is one token, not two."""
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"attributes: named twice in {', '.join(self.attributes)}")
        return self


class OutfitsConfig(DataConfig):
    """Four noisy pieces of Fashion-MNIST in one picture, and few combinations of classes allowed.

    One piece is hard to classify; the list of combinations makes all four depend on each other.
    """

    root: Path = Field(
        Path("data/fashion-mnist"),
        description="Folder of the four IDX files (plain or .gz), or of FashionMNIST/raw.",
    )
    combinations: int = Field(64, ge=2, le=10_000, description="Allowed combinations, of 10,000.")
    combination_seed: Seed = Field(0, description="Random seed of the allowed combinations.")
    # Large enough that a piece alone is ambiguous, so that the other three help.
    noise: Weight = Field(
        2.0, description="Deviation of the noise, where Fashion-MNIST's pixels have 1."
    )
    train_size: OutfitCount = Field(19_200, description="Fresh outfits in an epoch.")
    test_size: OutfitCount = Field(2000, description="Outfits of test images, always the same.")
    validation_size: OutfitCount = Field(2000, description="Outfits of held-out training images.")
    image_size: int = Field(14, ge=14, le=4096, description="Height and width; 14 as they are.")
    mean: Channels = Field((0.5,), description="Subtracted from each pixel.")
    std: Deviations = Field((0.125,), description="Divides each pixel.")
    validation: Chance = Field(
        0.1,
        description="Share of the training images held out for `validation` outfits.",
    )


class LinkedOutfitsConfig(DataConfig):
    """Noisy pieces of Fashion-MNIST in linked, interleaved blocks of four, and an annotator."""

    root: Path = Field(
        Path("data/fashion-mnist"),
        description="Folder of the four IDX files (plain or .gz), or of FashionMNIST/raw.",
    )
    blocks: int = Field(3, ge=1, le=6, description="Blocks of four labels.")
    block_words: int = Field(16, ge=2, le=64, description="Allowed words of a block, of 10,000.")
    partners: int = Field(
        5, ge=1, le=10, description="First labels of the next block that a first label allows."
    )
    word_seed: Seed = Field(535, description="Random seed of words and links; 535 gives 933 words.")
    reverse: bool = Field(False, description="Places from the last to the first.")
    noise: tuple[PieceNoise, ...] = Field(
        (3.0, 4.0, 6.0, "no picture"),
        min_length=1,
        description="Deviations of the noise, of which each training image has one.",
    )
    test_noise: tuple[PieceNoise, ...] = Field(
        ("no picture",), min_length=1, description="The same of the other splits."
    )
    asked: Literal["none", "first-half", "last-half", "all"] = Field(
        "last-half", description="Places that the annotator answers; before `reverse`."
    )
    accuracy: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.8, description="Chance that an answer of the annotator is right."
    )
    train_size: OutfitCount = Field(32_000, description="Fresh images in an epoch.")
    test_size: OutfitCount = Field(600, description="Images of test pieces, always the same.")
    validation_size: OutfitCount = Field(600, description="Images of held-out training pieces.")
    image_size: int = Field(28, ge=14, le=4096, description="Height and width; 28 as they are.")
    mean: Channels = Field((0.5,), description="Subtracted from each pixel.")
    std: Deviations = Field((0.125,), description="Divides each pixel.")
    validation: Chance = Field(
        0.1, description="Share of the training images held out for the validation split."
    )
