from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from addkit.data import (
    DigitsConfig,
    FashionMNISTConfig,
    ImageFolderConfig,
    ImageNetConfig,
    addkit_components,
)


def test_four_data_sets_are_offered() -> None:
    specs = list(addkit_components())
    assert [spec.name for spec in specs] == ["digits", "fashion-mnist", "image-folder", "imagenet"]
    assert {spec.kind for spec in specs} == {"data"}


def test_every_key_is_described() -> None:
    for spec in addkit_components():
        for key, field in spec.config.model_fields.items():
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


def test_grey_folders_have_one_mean() -> None:
    config = ImageFolderConfig.model_validate({"root": "pets", "channels": 1})
    assert (config.mean, config.std) == ((0.449,), (0.226,))
    assert ImageFolderConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mean": (0.5, 0.5)}, "mean has 2 values; give 3, one a channel"),
        ({"std": (1.0, 1.0, 0.0)}, "greater than 0"),
        ({"resize": 100}, r"resize \(100\) must not be below image_size \(224\)"),
        ({"validation": 1.0}, "less than 1"),
        ({"workers": 2}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        ImageNetConfig.model_validate(settings)
