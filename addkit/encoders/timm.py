"""Backbones of timm: any of them, and vision transformers with sizes of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from addkit.encoders.pretrained import published, weights_file
from addkit.encoders.settings import PretrainedConfig, VitConfig
from addkit.errors import ONLY_TENSORS, RecipeError


class TimmEncoder(nn.Module):
    """A timm model's features as tokens. Raises `RecipeError` for an unknown model or tag, sizes
    that do not fit it, or a file that does not.

    Args:
        config: the model's name, its first weights and its stochastic depth.
        image_size: pixels of the square input.
        image_channels: of the image.
        pool: one token, which is what the model's own classifier reads, in place of its last
            feature map.
        sizes: timm's arguments that override the named model's.
    """

    def __init__(
        self,
        config: PretrainedConfig,
        image_size: int,
        image_channels: int,
        pool: bool = False,
        *,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        name = config.model
        facts = published(name)
        # num_classes = 0 builds the model without its classifier head.
        options: dict[str, Any] = {"num_classes": 0, "in_chans": image_channels, **(sizes or {})}
        if config.drop_path:  # models without stochastic depth refuse the argument
            options["drop_path_rate"] = config.drop_path
        # A dry run builds on the meta device, without memory: then no weights are loaded.
        on_meta = torch.empty(0).device.type == "meta"
        try:
            # A model of a fixed size takes another one as an argument; the rest take any image.
            if facts is not None and facts.fixed_input_size and facts.input_size[-1] != image_size:
                options.setdefault("img_size", image_size)
            self.num_tokens, self.width = _token_shape(name, image_size, options, pool=pool)
            pretrained = config.pretrained and config.weights is None and not on_meta
            if pretrained and (file := weights_file(name)):
                # Read as timm reads a download: adapted to the image's size and channels.
                options["pretrained_cfg_overlay"] = {"file": str(file)}
            self.model: Any = timm.create_model(name, pretrained=pretrained, **options)
        except (TypeError, RuntimeError, ValueError, AssertionError, OSError) as error:
            raise RecipeError(
                f'[encoder] timm cannot build "{name}" for {image_channels} x {image_size} x '
                f"{image_size} images: {error}"
            ) from error
        self.pool = pool
        prefix = 0 if pool else getattr(self.model, "num_prefix_tokens", 0)
        self.num_prefix_tokens = cast("int", prefix)
        if config.weights is not None and not on_meta:
            load_weights(self.model, config.weights)

    def recompute_activations(self) -> None:
        """Recompute activations in the backward pass, if the timm model can."""
        recompute = getattr(self.model, "set_grad_checkpointing", None)
        if recompute is not None:
            recompute(True)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, L, W)."""
        return _tokens(self.model, images, pool=self.pool)


def _tokens(model: Any, images: Tensor, *, pool: bool) -> Tensor:
    """The pooled features (B, 1, W), or the tokens or the last map, either way up, (B, L, W)."""
    features = model.forward_features(images)
    if pool:
        pooled: Tensor = model.forward_head(features, pre_logits=True)  # (B, W)
        return pooled[:, None]
    if not isinstance(features, Tensor):
        raise TypeError("it gives several feature maps, not one")
    if features.ndim == 3:
        return features
    if features.shape[1] == model.num_features:  # (B, W, h, w)
        return features.flatten(2).transpose(1, 2)
    return features.flatten(1, 2)  # (B, h, w, W)


def _token_shape(
    name: str, image_size: int, options: Mapping[str, Any], *, pool: bool
) -> tuple[int, int]:
    """L and W, from a pass on the meta device: no memory, no arithmetic."""
    # eval: batch norm in training may refuse a batch of one image.
    with torch.device("meta"), torch.no_grad():
        model: Any = timm.create_model(name, **options).eval()
        images = torch.empty(1, options["in_chans"], *[image_size] * 2)
        _, tokens, width = _tokens(model, images, pool=pool).shape
    return tokens, width


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy a file's tensors into the model by name; a classifier head in the file is left out.

    Where no name fits but number, order and shapes do (a port of the same network), by order.
    Raises `RecipeError` if the file is missing or does not fit.
    """
    if not path.is_file():
        raise RecipeError(f'[encoder] weights: no file "{path}"')
    try:
        if path.suffix == ".safetensors":
            stored = load_file(path)
        else:
            # weights_only: a foreign file could otherwise execute code while it is unpickled.
            content = torch.load(path, map_location="cpu", weights_only=True)
            # Checkpoints of training scripts nest the weights under one of these keys.
            for key in ("state_dict", "model"):
                content = content.get(key, content) if isinstance(content, dict) else {}
            stored = {name: x for name, x in content.items() if isinstance(x, Tensor)}
    except Exception as error:
        # torch would have the user unpickle whatever lies in the file.
        reason = ONLY_TENSORS if "weights_only" in str(error) else str(error)
        raise RecipeError(f'[encoder] weights: cannot read "{path}": {reason}') from error
    wanted = model.state_dict()
    fitting = {name: stored[name] for name in wanted if name in stored}
    if not fitting:
        # By order. A head in the file comes last, so what is left over is ignored.
        tensors = list(stored.values())[: len(wanted)]
        shapes = [x.shape for x in wanted.values()]
        if shapes == [x.shape for x in tensors]:
            fitting = dict(zip(wanted, tensors, strict=True))
    wrong = [n for n, x in wanted.items() if n not in fitting or fitting[n].shape != x.shape]
    if wrong:
        raise RecipeError(
            f'[encoder] weights: "{path}" does not fit: {len(wrong)} of {len(wanted)} tensors are '
            f"missing or of another shape, the first is {wrong[0]} {tuple(wanted[wrong[0]].shape)}"
        )
    model.load_state_dict(fitting)


class VitEncoder(TimmEncoder):
    """The named ViT at the image's size, its sizes overridden where the recipe gives others. Raises
    `RecipeError` if the name is no ViT, or the image is no multiple of the patch.

    Args:
        config: the model's name, its sizes and its first weights.
        image_size: pixels of the square input.
        image_channels: of the image.
    """

    def __init__(self, config: VitConfig, image_size: int, image_channels: int) -> None:
        if not config.model.startswith(("vit_", "deit")):
            raise RecipeError(
                f'[encoder] "{config.model}" is no vision transformer of timm\'s; '
                'name one such as vit_base_patch16_224, or use the encoder "timm"'
            )
        overrides = {
            "patch_size": config.patch_size,
            "embed_dim": config.width,
            "depth": config.depth,
            "num_heads": config.heads,
        }
        sizes = {key: value for key, value in overrides.items() if value is not None}
        if config.class_tokens is not None:
            # timm's registers are learned tokens behind the class token, of no other kind.
            sizes["reg_tokens"] = config.class_tokens - 1
        # Always given: position embeddings of pretrained weights are then resampled.
        sizes["img_size"] = image_size
        super().__init__(config, image_size, image_channels, sizes=sizes)
        patch = self.model.patch_embed.patch_size[0]
        # The patch embedding would drop the remaining pixels silently.
        if image_size % int(patch):
            raise RecipeError(
                f"[encoder] image_size {image_size} is no multiple of the patch size {patch}"
            )
