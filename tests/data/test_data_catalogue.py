from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from pydantic import ValidationError

from addkit.data import addkit_components
from addkit.data.settings import (
    DEFAULT_INPUT,
    AttributeTableConfig,
    CaptionFolderConfig,
    CocoCaptionsConfig,
    DigitsConfig,
    EmojiAttributesConfig,
    EmojiConfig,
    FashionMNISTConfig,
    ImageFolderConfig,
    ImageNetConfig,
)
from addkit.plugin import Choice, DataSpec, Problem, Spec, load_registry
from addkit.tokenizers.settings import NoneConfig, WordsConfig

CLASSIFIED = ["digits", "fashion-mnist", "image-folder", "imagenet"]
JOINT = ["attribute-table", "emoji-attributes"]
TAGS = ["tag-table", "tag-folder", "coco-tags", "emoji-tags"]
CAPTIONS = ["emoji", "coco-captions", "caption-folder"]


def _captioned() -> list[Spec]:
    return [load_registry().get("data", name).spec for name in CAPTIONS]


def test_the_data_sets_that_are_offered() -> None:
    specs = list(addkit_components())
    assert [spec.name for spec in specs] == CLASSIFIED + CAPTIONS + JOINT + TAGS + [
        "outfits",
        "linked-outfits",
    ]
    assert {spec.kind for spec in specs} == {"data"}


def test_every_key_is_described() -> None:
    registry = load_registry()
    for spec in (registry.get("data", name).spec for name in registry.names("data")):
        for key, field in spec.settings.model_fields.items():
            assert field.description, (spec.name, key)


def test_the_page_imports_no_torch() -> None:
    code = (
        "import sys; from addkit.data import addkit_components; list(addkit_components()); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'PIL', 'numpy', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_defaults() -> None:
    assert DigitsConfig().image_size == 8
    assert FashionMNISTConfig().image_size == 28
    assert ImageNetConfig().mean == (0.485, 0.456, 0.406)
    assert ImageNetConfig().shorter_side == 256
    assert ImageNetConfig(image_size=384).shorter_side == 439


def test_defaults_of_captions() -> None:
    assert (EmojiConfig().image_size, EmojiConfig().subset, EmojiConfig().forms) == (
        64,
        "variants",
        1,
    )
    assert (CocoCaptionsConfig().image_size, CocoCaptionsConfig().max_tokens) == (256, 20)
    assert str(CaptionFolderConfig.model_validate({"root": "a"}).captions) == "captions.csv"
    with pytest.raises(ValidationError, match="give 3, one a channel"):
        EmojiConfig(mean=(0.5,), std=(0.5,))


def test_captions_need_a_tokenizer() -> None:
    none, words = (load_registry().get("tokenizer", name).spec for name in ("none", "words"))
    for spec in _captioned():
        config = spec.settings.model_validate(
            {"root": "a"} if spec.settings is CaptionFolderConfig else {}
        )
        (reason,) = spec.check(config, {"tokenizer": Choice(none, NoneConfig())})
        assert reason.endswith('[tokenizer] is "none"; write [tokenizer] name = "words"')
        assert list(spec.check(config, {"tokenizer": Choice(words, WordsConfig())})) == []


def test_captions_are_built_with_the_tokenizer() -> None:
    from addkit.tokenizers.words import Words

    problem = Problem(tokenizer=Words(WordsConfig()))
    emoji, coco, _ = _captioned()
    assert emoji.create(EmojiConfig(), problem).facts.num_classes == 204
    assert isinstance(coco, DataSpec)


@pytest.mark.parametrize("settings", [{"root": "pets"}, {"file": "pets.csv"}])
def test_own_grey_images_have_one_mean(settings: dict[str, str]) -> None:
    kind = ImageFolderConfig if "root" in settings else AttributeTableConfig
    config = kind.model_validate({**settings, "channels": 1}).for_encoder(DEFAULT_INPUT)
    assert (config.mean, config.std) == ((0.449,), (0.226,))
    assert kind.model_validate(config.model_dump(mode="json")) == config


def test_own_pictures_leave_to_the_encoder_what_is_unset() -> None:
    expected = replace(DEFAULT_INPUT, image_size=256, mean=(0.5,) * 3, crop_share=0.875)
    config = ImageFolderConfig.model_validate({"root": "pets", "image_size": 96, "std": [1, 1, 1]})
    filled = config.for_encoder(expected)
    assert (filled.image_size, filled.mean, filled.std) == (96, (0.5,) * 3, (1, 1, 1))
    assert (filled.crop_share, filled.shorter_side) == (0.875, 110)
    assert filled.for_encoder(DEFAULT_INPUT) == filled


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mean": (0.5, 0.5)}, "mean has 2 values; give 3, one a channel"),
        ({"std": (1.0, 1.0, 0.0)}, "greater than or equal to 0.000001"),
        ({"resize": 100}, r"resize \(100\) must not be below image_size \(224\)"),
        ({"validation": 1.0}, "less than 1"),
        ({"workers": 2}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        ImageNetConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"attributes": ["tone", "tone"]}, 'attributes: the column "tone" has a role already'),
        ({"attributes": ["image"]}, 'attributes: the column "image" has a role already'),
        ({"attributes": ["part"], "split_column": "part"}, 'the column "part" has a role already'),
        ({"separator": ""}, "at least 1 character"),
        ({"separator": '"'}, "pattern"),
        ({"test_share": 0.0}, "greater than or equal to 0.000001"),
        ({"unknown_values": "skip"}, "'stop' or 'missing'"),
    ],
)
def test_tables_that_cannot_be_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        AttributeTableConfig.model_validate({"file": "pets.csv", **settings})


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["tone", "tone"], "attributes: named twice in tone, tone"),
        (["tones"], "'group', 'gender' or 'tone'"),
        ([], "at least 1 item"),
    ],
)
def test_emoji_have_three_attributes(names: list[str], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        EmojiAttributesConfig.model_validate({"attributes": names})
