"""Loads a CLIP model with open_clip, which is imported when a scorer is built."""

from __future__ import annotations

import json
import logging
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from addkit.errors import DataError
from addkit.metrics.clip.source import CONFIG_FILE, ClipFile, ClipFolder, ClipSource, ClipTag

WEIGHTS_NAME = "weights_name"
"""Key in a folder's config by which its weights are named in every report; open_clip skips it."""
_CAUSE_LENGTH = 300
_ONLY_TENSORS = (
    "it is broken or holds more than tensors (a whole model, or TorchScript as in OpenAI's own "
    "files), and nothing else is unpickled; save the model's state_dict as .safetensors"
)
_TORCHSCRIPT = "'torch.load' received a zip file that looks like a TorchScript archive"
"""A warning of torch before the error that says the same."""


@dataclass(frozen=True, slots=True)
class LoadedClip:
    """A model with its image transform and its tokenizer."""

    model: Any
    preprocess: Callable[[Image], Tensor]
    """The model's own, without augmentation: an image to (3, size, size)."""
    tokenize: Callable[[list[str]], Tensor]
    """n texts to (n, context length)."""
    model_name: str
    weights_name: str


def load_clip(source: ClipSource, device: torch.device) -> LoadedClip:
    """Read the weights; those of a tag are fetched first if they are not there.

    Raises:
        DataError: weights cannot be fetched or read, or do not fit the model.
    """
    import open_clip

    name = f"local-dir:{source.path}" if isinstance(source, ClipFolder) else source.model
    # open_clip draws random weights before it loads: the global generator must not move.
    with _quiet(), torch.random.fork_rng(devices=[]):
        with _explained(f"the tokenizer of {_described(source)}"):
            tokenize = open_clip.get_tokenizer(name)
        options = _options(source)
        with _explained(_described(source)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", _TORCHSCRIPT, UserWarning)
            model, preprocess = open_clip.create_model_from_pretrained(
                name, device=device, weights_only=True, **options
            )
            weights_name = _weights_name(source)
    model_name = source.path.resolve().name if isinstance(source, ClipFolder) else source.model
    frozen = model.eval().requires_grad_(False)
    return LoadedClip(frozen, preprocess, tokenize, model_name, weights_name)


def _options(source: ClipSource) -> dict[str, Any]:
    """Arguments of open_clip for the weights."""
    import open_clip

    match source:
        case ClipFolder():
            return {}
        case ClipFile():
            return {"pretrained": str(source.path)}
        case ClipTag():
            facts = open_clip.get_pretrained_cfg(source.model, source.tag)
            keys = ("mean", "std", "interpolation", "resize_mode")
            return {
                "pretrained": _fetch(source, facts),
                # Some tags were trained with another activation than the model's name says.
                "force_quick_gelu": facts.get("quick_gelu", False),
                **{f"image_{key}": facts.get(key) for key in keys},
            }


def _fetch(source: ClipTag, facts: dict[str, Any]) -> str:
    """The weight file in open_clip's cache."""
    import open_clip

    try:
        return str(open_clip.download_pretrained(facts))
    except Exception as error:  # open_clip, urllib and the hub each raise their own
        place = f"hf.co/{facts['hf_hub'].rstrip('/')}" if facts.get("hf_hub") else facts.get("url")
        raise DataError(
            f"{_described(source)}: cannot fetch its weights from {place}. Where there is no "
            f"network, copy {CONFIG_FILE} and the weights from there into a folder and give the "
            f"folder. The cause: {_short(error)}"
        ) from error


def _weights_name(source: ClipSource) -> str:
    match source:
        case ClipTag():
            return source.tag
        case ClipFile():
            return str(source.path)
        case ClipFolder():
            config = json.loads((source.path / CONFIG_FILE).read_text("utf-8"))
            return str(config.get(WEIGHTS_NAME, source.path))


def _described(source: ClipSource) -> str:
    match source:
        case ClipTag():
            return f"CLIP {source.model}:{source.tag}"
        case ClipFile():
            return f'CLIP {source.model} with the weights in "{source.path}"'
        case ClipFolder():
            return f'the CLIP in "{source.path}"'


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise DataError(f"{what} needs a package that is not here: {_short(error)}") from error
    except Exception as error:  # broken files make open_clip and torch raise nearly anything
        raise DataError(f"{what} cannot be loaded: {_short(error)}") from error


def _short(error: Exception) -> str:
    text = str(error)
    # torch would have the user unpickle whatever lies in the file.
    return (
        _ONLY_TENSORS
        if "weights_only" in text
        else textwrap.shorten(text or type(error).__name__, _CAUSE_LENGTH)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of open_clip off the screen, and the root logger unconfigured.

    It logs through `logging.info`, which adds a screen handler to a root logger that has none.
    The hub logs each of its ten tries; our own error line is enough.
    """
    root, hub, none = (
        logging.getLogger(),
        logging.getLogger("huggingface_hub"),
        logging.NullHandler(),
    )
    level = hub.level
    root.addHandler(none)
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
        root.removeHandler(none)
