"""Features are the encoder's own, are computed once, and are never read where they are broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from addkit_features.settings import FrozenFeaturesConfig
from addkit_features.source import FeatureSource

from addkit import read_recipe
from addkit.errors import RecipeError
from addkit.model import build_data, build_network

if TYPE_CHECKING:
    from addkit.testing import Trial

RECIPES = Path(__file__).parents[1] / "recipes"
SMALL = ("encoder.of.widths=[8, 16]", "denoiser.width=16")


@pytest.mark.component("encoder", "frozen-features")
def test_conforms(law: Trial) -> None:
    law()


@pytest.mark.parametrize("name", ["digits-features", "digits-live"])
def test_recipes_can_be_read(name: str) -> None:
    assert read_recipe(RECIPES / f"{name}.toml").name == name


def _served(tmp_path: Path, *changes: str) -> tuple[Any, Any, Any]:
    recipe = read_recipe(
        RECIPES / "digits-features.toml", [*SMALL, f'encoder.cache="{tmp_path}"', *changes]
    )
    source = build_data(recipe)
    network = build_network(recipe, source.facts).eval()
    return source, network, network.encoder.serve(source)


def test_features_are_the_encoders_own(tmp_path: Path) -> None:
    source, network, served = _served(tmp_path)
    images, features = source.split("test"), served.split("test")
    some = [3, 0, 7]
    batch = features.batch(some, None)
    tokens = network.encoder(images.batch(some, None).images)
    torch.testing.assert_close(batch.images, tokens)
    torch.testing.assert_close(network.encoder(batch.images), tokens)
    assert torch.equal(batch.labels, images.labels[some])
    assert (len(features), features.source(3)) == (len(images), images.source(3))
    assert features.picture(3).size == (8, 8)


def test_the_second_visit_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, served = _served(tmp_path)
    first = served.split("train").batch([5], 0).images
    monkeypatch.setattr(FeatureSource, "_computed", None)
    again = _served(tmp_path)[2].split("train")
    assert torch.equal(again.batch([5], 1).images, first)


@pytest.mark.parametrize("change", ["seed=1", "data.mean=[0.5]", "encoder.dtype=float16"])
def test_other_weights_or_another_transform_are_computed_anew(tmp_path: Path, change: str) -> None:
    _served(tmp_path)[2].split("test")
    _served(tmp_path, change)[2].split("test")
    assert len(list(tmp_path.glob("test-*"))) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_broken_file_is_computed_anew(tmp_path: Path, damage: str) -> None:
    *_, served = _served(tmp_path)
    first = served.split("test").batch([5], None).images
    (file,) = tmp_path.glob("test-*/features.npy")
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    else:
        content[-1] ^= 1
        file.write_bytes(content[:-10] if damage == "cut" else content)
    assert torch.equal(served.split("test").batch([5], None).images, first)


def test_a_computation_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, served = _served(tmp_path)
    monkeypatch.setattr(FeatureSource, "_computed", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        served.split("test")
    assert not list(tmp_path.glob("test-*"))


def test_endless_augmentation_is_refused_and_views_are_fixed(tmp_path: Path) -> None:
    *_, served = _served(tmp_path, "augmentation.shift=2")
    with pytest.raises(RecipeError, match=r"changes training images in every epoch.*encoder.views"):
        served.split("train")
    *_, served = _served(tmp_path, "augmentation.shift=2", "encoder.views=2")
    train, plain = served.split("train"), served.split("train").batch([5], None).images
    views = [train.batch([5], seed).images for seed in range(40)]
    different = {tuple(view.flatten().tolist()) for view in views}
    assert len(different) == 2
    assert tuple(plain.flatten().tolist()) not in different
    assert torch.equal(train.batch([1, 5], 3).images[1:], train.batch([5], 3).images)


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ('{name="cn"}', 'no encoder is called "cn"'),
        ("{pretraind=true}", 'encoder "cnn": pretraind: Extra inputs are not permitted'),
        ('{name="frozen-features"}', "of names frozen-features itself"),
    ],
)
def test_an_encoder_that_is_none_is_refused(of: str, text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        read_recipe(RECIPES / "digits-features.toml", [f"encoder.of={of}"])


def test_a_trained_run_needs_no_first_weights() -> None:
    config = FrozenFeaturesConfig(of={"name": "timm", "model": "x.y", "pretrained": True})
    assert config.from_scratch().of["pretrained"] is False
