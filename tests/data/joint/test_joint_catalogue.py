from __future__ import annotations

import subprocess
import sys

import pytest
from addkit.data.joint import AttributeTableConfig, EmojiAttributesConfig, addkit_components
from pydantic import ValidationError


def test_three_data_sets_are_offered() -> None:
    specs = list(addkit_components())
    assert [spec.name for spec in specs] == ["attribute-table", "emoji-attributes", "outfits"]
    assert {spec.kind for spec in specs} == {"data"}


def test_every_key_is_described() -> None:
    for spec in addkit_components():
        for key, field in spec.settings.model_fields.items():
            assert field.description, (spec.name, key)


def test_the_page_imports_no_torch() -> None:
    code = (
        "import sys; from addkit.data.joint import addkit_components; list(addkit_components()); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'PIL', 'numpy', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_grey_tables_have_one_mean() -> None:
    config = AttributeTableConfig.model_validate({"file": "pets.csv", "channels": 1})
    assert (config.mean, config.std) == ((0.449,), (0.226,))
    assert AttributeTableConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"attributes": ["tone", "tone"]}, 'attributes: the column "tone" has a role already'),
        ({"attributes": ["image"]}, 'attributes: the column "image" has a role already'),
        ({"attributes": ["part"], "split_column": "part"}, 'the column "part" has a role already'),
        ({"separator": ""}, "at least 1 character"),
        ({"test_share": 0.0}, "greater than 0"),
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
