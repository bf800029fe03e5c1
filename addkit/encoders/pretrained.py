"""Weights that timm publishes: the input they expect, and their file, downloaded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import RemoteEntryNotFoundError
from timm.data.config import resolve_data_config

from addkit.errors import RecipeError, guess
from addkit.plugin.values import EncoderInput

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of weights on the hub, the preferred one first."""
TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""


def published(model: str) -> Any:
    """timm's configuration of NAME or NAME.TAG; None for a model without weights.

    Raises `RecipeError` for a name or a tag that timm does not have.
    """
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        models = timm.list_models()
        raise RecipeError(
            f'[encoder] timm {timm.__version__} has no model "{model}"{guess(model, models)}; '
            f"timm.list_models() names all {len(models)}"
        )
    tags = [name for name in timm.list_pretrained() if name.split(".")[0] == architecture]
    if tag and model not in tags:
        raise RecipeError(
            f'[encoder] timm {timm.__version__} has no weights "{model}"{guess(model, tags)}; '
            f"there are: {', '.join(tags) or 'none'}"
        )
    return timm.get_pretrained_cfg(model)


def expected_input(model: str) -> EncoderInput | None:
    """The input that a model's weights were trained on; None for a model without weights."""
    config = published(model)
    if config is None:
        return None
    data: dict[str, Any] = resolve_data_config(pretrained_cfg=config.to_dict())  # type: ignore[no-untyped-call]
    return EncoderInput(
        image_size=data["input_size"][-1],
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
        crop_share=data["crop_pct"],
        origin=f"timm's data configuration of {config.architecture}.{config.tag}",
    )


def weights_file(model: str) -> Path | None:
    """The file of a model's weights in the hub's cache, downloaded if it is not there yet.

    None for weights that are not on the hub: timm gets them itself. Raises `RecipeError` if there
    are none, or they cannot be downloaded; without a network it does so at once.
    """
    config = published(model)
    if config is None or not config.has_weights:
        raise RecipeError(f'[encoder] pretrained: timm publishes no weights of "{model}"')
    if not config.hf_hub_id:
        return None
    hub_id, _, revision = config.hf_hub_id.partition("@")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else FILES
    for file in files:
        # First, and without a question to the hub: weights do not change under a run.
        cached = try_to_load_from_cache(hub_id, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    error: Exception | None = None
    for file in files:
        try:
            # `hf_hub_download` alone would repeat this request for most of a minute.
            url = hf_hub_url(hub_id, file, revision=revision or None)
            get_hf_file_metadata(url, timeout=TIMEOUT)
            return Path(hf_hub_download(hub_id, file, revision=revision or None))
        except RemoteEntryNotFoundError as missing:
            error = missing
        except Exception as failed:  # of the network, the hub or the disk
            error = failed
            break
    reason = " ".join(str(error).split()) or type(error).__name__
    raise RecipeError(
        f'[encoder] pretrained: the weights of "{model}" are not here and cannot be downloaded '
        f"({reason}); connect once, or give a local file (--set encoder.weights=FILE), or train "
        "a recipe without pretrained weights, such as image-folder-small"
    ) from error
