"""timm models as encoders, from scratch, from timm's weights or from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from addkit.encoders.settings import PretrainedConfig, TimmConfig
from addkit.errors import RecipeError, guess
from addkit.plugin.spec import Problem


class Backbone(nn.Module):
    """A timm model's features as tokens.

    Args:
        model: timm's, built without a head.
        num_tokens: L.
    """

    def __init__(self, model: nn.Module, num_tokens: int) -> None:
        super().__init__()
        self.model = model
        self.width = cast("int", model.num_features)
        self.num_prefix_tokens = cast("int", getattr(model, "num_prefix_tokens", 0))
        self.num_tokens = num_tokens

    def recompute_activations(self) -> None:
        """Of timm's models those that can."""
        recompute = getattr(self.model, "set_grad_checkpointing", None)
        if recompute is not None:
            recompute(True)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, L, W)."""
        return _as_tokens(self.model.forward_features(images), self.width)  # type: ignore[operator]


def _as_tokens(features: Tensor, width: int) -> Tensor:
    """A feature map, channels first or last, or tokens, -> (B, L, W)."""
    if features.ndim == 3:
        return features
    if features.shape[1] == width:
        return features.flatten(2).transpose(1, 2)
    return features.flatten(1, 2)


def build_backbone(config: TimmConfig, problem: Problem) -> Backbone:
    """The named model for the problem's image size and channels."""
    return with_weights(create(config, problem, {}), config)


def create(config: PretrainedConfig, problem: Problem, sizes: dict[str, Any]) -> Backbone:
    """Timm's model without a head; `sizes` override the named model's.

    Raises:
        RecipeError: no such model or tag, or the sizes do not fit it.
    """
    if not timm.is_model(config.model.split(".")[0]):
        known = timm.list_models()
        raise RecipeError(
            f'[encoder] timm {timm.__version__} has no model "{config.model}"'
            f"{guess(config.model, known)}; timm.list_models() names all {len(known)}"
        )
    options = {"num_classes": 0, "in_chans": problem.image_channels, **sizes}
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    try:
        if _fixed_size(config.model) not in (None, problem.image_size):
            options.setdefault("img_size", problem.image_size)
        num_tokens = _count_tokens(config.model, problem, options)
        weights = config.pretrained and not _on_meta()
        model = timm.create_model(config.model, pretrained=weights, **options)
    except (TypeError, RuntimeError, ValueError, AssertionError, OSError) as error:
        raise RecipeError(
            f'[encoder] timm cannot build "{config.model}" for {problem.image_channels} x '
            f"{problem.image_size} x {problem.image_size} images: {error}"
        ) from error
    return Backbone(model, num_tokens)


def _on_meta() -> bool:
    """True while a dry run builds without memory: then no weights are fetched."""
    return torch.empty(0).device.type == "meta"


def _fixed_size(name: str) -> int | None:
    """The one image size that a model is made for, where it takes no other."""
    facts = timm.get_pretrained_cfg(name)
    return int(facts.input_size[-1]) if facts is not None and facts.fixed_input_size else None


def _count_tokens(name: str, problem: Problem, options: dict[str, Any]) -> int:
    """L, from the shape that the model gives on the meta device: no memory, no arithmetic."""
    with torch.device("meta"), torch.no_grad():
        model: Any = timm.create_model(name, **options).eval()
        images = torch.empty(1, problem.image_channels, problem.image_size, problem.image_size)
        features = model.forward_features(images)
    if not isinstance(features, Tensor):
        raise TypeError("it gives several feature maps, not one")
    return _as_tokens(features, model.num_features).shape[1]


def with_weights(encoder: Backbone, config: PretrainedConfig) -> Backbone:
    """Load the local file, if one is named, and freeze, if asked."""
    if config.weights is not None and not _on_meta():
        load_weights(encoder.model, config.weights)
    return encoder


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy a file's tensors into the model by name; a classifier head in the file is left out.

    Where no name fits but number, order and shapes do (a port of the same network), by order.

    Raises:
        RecipeError: the file is missing or does not fit.
    """
    if not path.is_file():
        raise RecipeError(f'[encoder] weights: no file "{path}"')
    found = _read_tensors(path)
    wanted = model.state_dict()
    by_name = {name: found[name] for name in wanted if name in found}
    if len(by_name) < len(wanted) and not by_name:
        by_name = _match_by_order(wanted, found)
    wrong = [n for n, x in wanted.items() if n not in by_name or by_name[n].shape != x.shape]
    if wrong:
        raise RecipeError(
            f'[encoder] weights: "{path}" does not fit: {len(wrong)} of {len(wanted)} tensors are '
            f"missing or of another shape, the first is {wrong[0]} {tuple(wanted[wrong[0]].shape)}"
        )
    model.load_state_dict(by_name)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Nothing but tensors is ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RecipeError(f'[encoder] weights: cannot read "{path}": {error}') from error
    for key in ("state_dict", "model"):
        loaded = loaded.get(key, loaded) if isinstance(loaded, dict) else {}
    return {name: x for name, x in loaded.items() if isinstance(x, Tensor)}


def _match_by_order(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> dict[str, Tensor]:
    names, tensors = list(wanted), list(found.values())[: len(wanted)]
    fits = len(tensors) == len(names) and all(
        wanted[name].shape == x.shape for name, x in zip(names, tensors, strict=True)
    )
    return dict(zip(names, tensors, strict=True)) if fits else {}
