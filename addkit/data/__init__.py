"""Data sets: images with labels, split once and for all, augmented by (seed, index) alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from addkit.plugin.spec import Choices, DataSpec, components

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


addkit_components = components(
    DataSpec(
        "digits",
        ".settings:DigitsConfig",
        ".digits:Digits",
        "1,797 handwritten digits, 8 x 8 grey; comes with addkit.",
    ),
    DataSpec(
        "fashion-mnist",
        ".settings:FashionMNISTConfig",
        ".fashion_mnist:FashionMNIST",
        "70,000 pieces of clothing, 28 x 28 grey.",
    ),
    DataSpec(
        "image-folder",
        ".settings:ImageFolderConfig",
        ".image_folder:ImageFolder",
        "Your images, one sub-folder for each class.",
    ),
    DataSpec(
        "imagenet",
        ".settings:ImageNetConfig",
        ".imagenet:ImageNet",
        "ImageNet-1k in torchvision's layout.",
    ),
    DataSpec(
        "emoji",
        ".settings:EmojiConfig",
        ".emoji:EmojiCaptions",
        "Emoji and their names, 64 x 64 colour; comes with addkit.",
        provides=frozenset({"captions"}),
        check=_needs_tokenizer,
    ),
    DataSpec(
        "coco-captions",
        ".settings:CocoCaptionsConfig",
        ".coco:CocoCaptions",
        "MS COCO's photographs and captions of 2014.",
        provides=frozenset({"captions"}),
        check=_needs_tokenizer,
    ),
    DataSpec(
        "caption-folder",
        ".settings:CaptionFolderConfig",
        ".caption_folder:CaptionFolder",
        "Your pictures and captions, CSV, JSON lines or COCO's json.",
        provides=frozenset({"captions"}),
        check=_needs_tokenizer,
    ),
    DataSpec(
        "attribute-table",
        ".settings:AttributeTableConfig",
        ".attribute_table:AttributeTable",
        "Your images, a CSV column for each attribute.",
        provides=frozenset({"attributes"}),
    ),
    DataSpec(
        "emoji-attributes",
        ".settings:EmojiAttributesConfig",
        ".emoji:EmojiAttributes",
        "Group, gender and skin tone of emoji; comes with addkit.",
        provides=frozenset({"attributes"}),
    ),
    DataSpec(
        "tag-table",
        ".settings:TagTableConfig",
        ".tag_table:TagTable",
        "Your images, a CSV column of tags: dog;grass;ball.",
        provides=frozenset({"tags"}),
    ),
    DataSpec(
        "tag-folder",
        ".settings:TagFolderConfig",
        ".tag_folder:TagFolder",
        "Your images, one folder for each tag, copies in several.",
        provides=frozenset({"tags"}),
    ),
    DataSpec(
        "coco-tags",
        ".settings:CocoTagsConfig",
        ".coco_tags:CocoTags",
        "MS COCO's photographs and their 80 categories, 2014.",
        provides=frozenset({"tags"}),
    ),
    DataSpec(
        "emoji-tags",
        ".settings:EmojiTagsConfig",
        ".emoji_tags:EmojiTags",
        "Emoji and the words of their names; comes with addkit.",
        provides=frozenset({"tags"}),
    ),
    DataSpec(
        "outfits",
        ".settings:OutfitsConfig",
        ".outfits:Outfits",
        "Four noisy pieces of clothing, few combinations allowed.",
        provides=frozenset({"attributes"}),
    ),
    DataSpec(
        "linked-outfits",
        ".settings:LinkedOutfitsConfig",
        ".linked_outfits:LinkedOutfits",
        "Twelve noisy pieces in linked blocks, with an annotator's answers.",
        provides=frozenset({"attributes", "soft-evidence"}),
    ),
)
