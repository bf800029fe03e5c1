"""timm's models as encoders: the tokens that are told are the tokens that come."""

from __future__ import annotations

import pytest
import timm
import torch

from addkit.errors import RecipeError

SMALL_VIT = {"width": 24, "depth": 2, "heads": 3}


def _facts(size: int, channels: int = 3) -> dict[str, int]:
    return {"image_size": size, "image_channels": channels}


def _tokens(encoder, size: int, channels: int = 3) -> torch.Tensor:
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return encoder.eval()(images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "patch"), [(28, 7), (32, 16), (8, 2)])
def test_a_vit_takes_its_sizes_from_the_recipe(build, size: int, patch: int, channels: int) -> None:
    facts = _facts(size, channels)
    encoder = build("encoder", "vit", facts, patch_size=patch, **SMALL_VIT)
    count = (size // patch) ** 2 + 1
    assert (encoder.num_tokens, encoder.width, encoder.num_prefix_tokens) == (count, 24, 1)
    assert len(encoder.model.blocks) == 2
    assert encoder.model.blocks[0].attn.num_heads == 3
    assert _tokens(encoder, size, channels).shape == (2, count, 24)


def test_a_vits_first_token_is_its_class_token(build) -> None:
    """It alone does not move when patches trade places before positions are added."""
    encoder = build("encoder", "vit", _facts(8), patch_size=4, **SMALL_VIT)
    with torch.no_grad():
        encoder.model.pos_embed.zero_()
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    turned = image.roll(4, 3)
    with torch.no_grad():
        one, other = encoder.eval()(image), encoder(turned)
    torch.testing.assert_close(one[:, 0], other[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one[:, [2, 1, 4, 3]], other[:, 1:], atol=1e-5, rtol=1e-4)
    assert (one[:, 1:] - other[:, 1:]).abs().max() > 1e-3


def test_class_tokens_are_learned_apart(build) -> None:
    """Figure 2b: each has its own weights and its own output; the patches see all of them."""
    encoder = build("encoder", "vit", _facts(8), patch_size=4, class_tokens=3, **SMALL_VIT)
    assert (encoder.num_tokens, encoder.num_prefix_tokens) == (4 + 3, 3)
    tokens = _tokens(encoder, 8)
    assert torch.pdist(tokens[0, :3]).min() > 1e-3


@pytest.mark.parametrize(
    ("model", "size", "count", "prefix"),
    [
        ("resnet18", 32, 1, 0),
        ("resnet18", 65, 9, 0),
        ("test_convnext", 64, 4, 0),
        ("inception_v4", 96, 1, 0),  # rounds down where others round up
        ("swin_tiny_patch4_window7_224", 64, 4, 0),  # channels last
        ("test_vit", 32, 5, 1),
        ("mixer_s32_224", 64, 4, 0),
        ("deit_tiny_distilled_patch16_224", 48, 11, 2),
    ],
)
def test_any_backbone_declares_its_tokens(build, model: str, size: int, count: int, prefix: int):
    encoder = build("encoder", "timm", _facts(size), model=model)
    assert (encoder.num_tokens, encoder.num_prefix_tokens) == (count, prefix)
    assert _tokens(encoder, size).shape == (2, count, encoder.width)


@pytest.mark.parametrize("model", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_maps_become_tokens_row_by_row(build, model: str) -> None:
    """Channels first (resnet) and channels last (swin)."""
    encoder = build("encoder", "timm", _facts(64, 1), model=model).eval()
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens, features = encoder(images), encoder.model.forward_features(images)
    channels_last = features if model.startswith("swin") else features.permute(0, 2, 3, 1)
    assert channels_last.shape == (2, 2, 2, encoder.width)
    for row in range(2):
        for column in range(2):
            assert torch.equal(tokens[:, 2 * row + column], channels_last[:, row, column])


@pytest.mark.parametrize("model", ["test_resnet", "test_convnext", "test_vit", "crossvit_9_240"])
def test_pooled_features_are_what_timms_classifier_reads(build, model: str) -> None:
    size = 240 if model == "crossvit_9_240" else 64  # the last one gives several maps otherwise
    encoder = build("encoder", "timm", _facts(size), model=model, pool=True)
    assert (encoder.num_tokens, encoder.num_prefix_tokens) == (1, 0)
    tokens = _tokens(encoder, size)
    assert tokens.shape == (2, 1, encoder.width)
    assert torch.equal(tokens[:, 0], _tokens(encoder.model, size))


def test_a_dry_run_counts_without_memory(build) -> None:
    with torch.device("meta"):
        encoder = build("encoder", "vit", _facts(224))
    assert next(encoder.parameters()).device.type == "meta"
    assert (encoder.num_tokens, encoder.width) == (197, 768)


def test_counting_tokens_does_not_touch_the_random_stream(build) -> None:
    """The initial weights are those of the model built alone."""
    encoder = build("encoder", "timm", _facts(32), model="test_resnet")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        alone = timm.create_model("test_resnet", num_classes=0)
    for name, weight in alone.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[name], weight), name


def test_stochastic_depth_is_handed_on(build) -> None:
    def rates(encoder) -> list[float]:
        return [m.drop_prob for m in encoder.modules() if type(m).__name__ == "DropPath"]

    assert rates(build("encoder", "vit", _facts(8), patch_size=4, **SMALL_VIT)) == []
    deep = build("encoder", "vit", _facts(8), patch_size=4, drop_path=0.2, **SMALL_VIT)
    assert max(rates(deep)) == pytest.approx(0.2)


# Errors.


@pytest.mark.parametrize(
    ("name", "settings", "size", "text"),
    [
        (
            "vit",
            {"model": "resnet18"},
            32,
            '[encoder] "resnet18" is no vision transformer of timm\'s; '
            'name one such as vit_base_patch16_224, or use the encoder "timm"',
        ),
        (
            "vit",
            {"patch_size": 7, **SMALL_VIT},
            30,
            "[encoder] image_size 30 is no multiple of the patch size 7",
        ),
        (
            "timm",
            {"model": "resnet-18"},
            32,
            f'[encoder] timm {timm.__version__} has no model "resnet-18" (did you mean '
            f'"resnet18"?); timm.list_models() names all {len(timm.list_models())}',
        ),
        (
            "timm",
            {"model": "resnet18.a1_in2k"},
            32,
            f'[encoder] timm {timm.__version__} has no weights "resnet18.a1_in2k" (did you mean '
            f'"resnet18.a1_in1k"?); there are: {", ".join(timm.list_pretrained("resnet18.*"))}',
        ),
        (
            "timm",
            {"model": "crossvit_9_240"},
            240,
            '[encoder] timm cannot build "crossvit_9_240" for 3 x 240 x 240 images: '
            "it gives several feature maps, not one",
        ),
    ],
)
def test_models_that_cannot_be_built_are_errors(
    build, name: str, settings, size: int, text: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        build("encoder", name, _facts(size), **settings)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit", {"patch_size": 4, "width": 25, "depth": 1, "heads": 3}),
        ("timm", {"model": "efficientformer_l1"}),  # takes 224 pixels alone
    ],
)
def test_timms_own_refusal_is_handed_on(build, name: str, settings) -> None:
    with pytest.raises(RecipeError, match=r"^\[encoder\] timm cannot build .* for 3 x 96 x 96"):
        build("encoder", name, _facts(96), **settings)
