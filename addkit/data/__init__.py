"""Data sets: images with labels, split once and for all, augmented by (seed, index) alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, DataSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.data.settings import CaptionConfig


def _needs_tokenizer(config: CaptionConfig, choices: Choices) -> Iterable[str]:
    # By ability: a plugin's tokenizer cuts captions, whatever its name.
    tokenizer = choices["tokenizer"]
    if "no-text" in tokenizer.spec.provides:
        yield (
            f'captions must be cut into tokens, and [tokenizer] is "{tokenizer.name}"; '
            'write [tokenizer] name = "words"'
        )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in data sets."""
    yield DataSpec(
        name="digits",
        config="addkit.data.settings:DigitsConfig",
        build="addkit.data.digits:Digits",
        summary="1,797 handwritten digits, 8 x 8 grey; comes with addkit.",
    )
    yield DataSpec(
        name="fashion-mnist",
        config="addkit.data.settings:FashionMNISTConfig",
        build="addkit.data.fashion_mnist:FashionMNIST",
        summary="70,000 pieces of clothing, 28 x 28 grey.",
    )
    yield DataSpec(
        name="image-folder",
        config="addkit.data.settings:ImageFolderConfig",
        build="addkit.data.image_folder:ImageFolder",
        summary="Your images, one sub-folder for each class.",
    )
    yield DataSpec(
        name="imagenet",
        config="addkit.data.settings:ImageNetConfig",
        build="addkit.data.imagenet:ImageNet",
        summary="ImageNet-1k in torchvision's layout.",
    )
    yield DataSpec(
        name="emoji",
        config="addkit.data.settings:EmojiConfig",
        build="addkit.data.emoji:EmojiCaptions",
        provides=frozenset({"captions"}),
        check=_needs_tokenizer,
        summary="Emoji and their names, 64 x 64 colour; comes with addkit.",
    )
    yield DataSpec(
        name="coco-captions",
        config="addkit.data.settings:CocoCaptionsConfig",
        build="addkit.data.coco:CocoCaptions",
        provides=frozenset({"captions"}),
        check=_needs_tokenizer,
        summary="MS COCO's photographs and captions of 2014.",
    )
    yield DataSpec(
        name="caption-folder",
        config="addkit.data.settings:CaptionFolderConfig",
        build="addkit.data.caption_folder:CaptionFolder",
        provides=frozenset({"captions"}),
        check=_needs_tokenizer,
        summary="Your pictures and captions, CSV, JSON lines or COCO's json.",
    )
    yield DataSpec(
        name="attribute-table",
        config="addkit.data.settings:AttributeTableConfig",
        build="addkit.data.attribute_table:AttributeTable",
        provides=frozenset({"attributes"}),
        summary="Your images, a CSV column for each attribute.",
    )
    yield DataSpec(
        name="emoji-attributes",
        config="addkit.data.settings:EmojiAttributesConfig",
        build="addkit.data.emoji:EmojiAttributes",
        provides=frozenset({"attributes"}),
        summary="Group, gender and skin tone of emoji; comes with addkit.",
    )
    yield DataSpec(
        name="outfits",
        config="addkit.data.settings:OutfitsConfig",
        build="addkit.data.outfits:Outfits",
        provides=frozenset({"attributes"}),
        summary="Four noisy pieces of clothing, few combinations allowed.",
    )
