"""Which CLIP model, and loading it with open_clip, which is imported when a scorer is built."""

from __future__ import annotations

import json
import logging
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from addkit.errors import ONLY_TENSORS, DataError, UsageError, guess

CONFIG_FILE = "open_clip_config.json"
"""open_clip's file name for a model's description in a folder."""
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")
FOLDER_WEIGHTS = (".safetensors", ".pth", ".bin")
"""Weight files that open_clip searches a folder for."""
FORMS = "MODEL:TAG (ViT-B-32:openai), MODEL:FILE (ViT-B-32:weights.safetensors) or FOLDER"


@dataclass(frozen=True, slots=True)
class ClipTag:
    """A model with weights that open_clip has a tag for, and downloads once."""

    model: str
    tag: str


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A model that open_clip defines, with weights in a local file.

    The file does not record how it was trained: weights trained with QuickGELU need the model name
    that ends in `-quickgelu`, and images are scaled as for OpenAI's models. A folder records both.
    """

    model: str
    path: Path


@dataclass(frozen=True, slots=True)
class ClipFolder:
    """A folder with `open_clip_config.json` and a weight file, as open_clip's `local-dir:`."""

    path: Path


ClipSource = ClipTag | ClipFile | ClipFolder


def parse_clip(text: str) -> ClipSource:
    """The CLIP that `MODEL:TAG`, `MODEL:FILE` or `FOLDER` names. Reads and fetches no weights.
    Raises `UsageError` if there is no such model, tag or file, or the folder lacks something.
    """
    folder = Path(text).expanduser()
    # An empty text as a path would be the working directory.
    if text and folder.is_dir():
        if not (folder / CONFIG_FILE).is_file():
            raise UsageError(
                f'CLIP folder "{folder}" has no {CONFIG_FILE}, which describes the model'
            )
        if not any(file.suffix in FOLDER_WEIGHTS for file in folder.iterdir()):
            kinds = ", ".join(f"*{kind}" for kind in FOLDER_WEIGHTS)
            raise UsageError(f'CLIP folder "{folder}" has no weights: none of {kinds}')
        return ClipFolder(folder)
    # Slow to import, and not needed for a folder.
    import open_clip

    model, _, weights = text.partition(":")
    model = model.replace("/", "-")  # OpenAI writes ViT-B/32
    models = open_clip.list_models()
    if model not in models:
        # Neither a colon nor a similar model: the text was meant as a folder.
        if ":" not in text and not guess(model, models):
            raise UsageError(f'CLIP "{text}": no such folder, and no model; give {FORMS}')
        raise UsageError(
            f'CLIP "{text}": open_clip {open_clip.__version__} has no model "{model}"'
            f"{guess(model, models)}; open_clip.list_models() names all {len(models)}; give {FORMS}"
        )
    # A tag goes before a file of the same name, which `./` in front still selects.
    if open_clip.is_pretrained_cfg(model, weights):
        return ClipTag(model, weights)
    path = Path(weights).expanduser()
    if path.is_file():
        return ClipFile(model, path)
    # With an ending or a folder it was meant as a file, so no tags are listed.
    if path.suffix in WEIGHT_FILES or path.name != weights:
        raise UsageError(f'CLIP "{text}": no file "{path}"')
    tags = open_clip.list_pretrained_tags_by_model(model)
    missing = f'open_clip has no weights "{weights}" for {model}' if weights else "which weights?"
    allowed = f"its tags are {', '.join(tags)}" if tags else "it has no tags"
    raise UsageError(
        f'CLIP "{text}": {missing}{guess(weights, tags)}; {allowed}; or name a file, '
        f"{model}:weights.safetensors"
    )


WEIGHTS_NAME = "weights_name"
"""Key in a folder's config by which its weights are named in every report; open_clip skips it."""
_CAUSE_LENGTH = 300
_TORCHSCRIPT = "'torch.load' received a zip file that looks like a TorchScript archive"
"""A warning of torch before the error with the same message."""


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
    """Read the weights; those of a tag are fetched first if they are not there. Raises `DataError`
    if weights cannot be fetched or read, or do not fit the model.
    """
    import open_clip

    description = _described(source)
    name = f"local-dir:{source.path}" if isinstance(source, ClipFolder) else source.model
    # open_clip draws random weights before it loads: the global generator must not move.
    with _quiet(), torch.random.fork_rng(devices=[]):
        # The tokenizer first: it is small, and weights may be a download.
        with _explained(f"the tokenizer of {description}"):
            tokenize = open_clip.get_tokenizer(name)
        options: dict[str, Any] = {}
        match source:
            case ClipTag():
                model_name, weights_name = source.model, source.tag
                options = _options_of_tag(source)
            case ClipFile():
                model_name, weights_name = source.model, str(source.path)
                options = {"pretrained": weights_name}
            case ClipFolder():
                model_name = source.path.resolve().name
                with _explained(description):
                    config = json.loads((source.path / CONFIG_FILE).read_text("utf-8"))
                    weights_name = str(config.get(WEIGHTS_NAME, source.path))
        with _explained(description), warnings.catch_warnings():
            warnings.filterwarnings("ignore", _TORCHSCRIPT, UserWarning)
            # weights_only: a file that a user was handed must not run code.
            model, preprocess = open_clip.create_model_from_pretrained(
                name, device=device, weights_only=True, **options
            )
    frozen = model.eval().requires_grad_(False)
    return LoadedClip(frozen, preprocess, tokenize, model_name, weights_name)


def _options_of_tag(source: ClipTag) -> dict[str, Any]:
    """Arguments of open_clip for a tag's weights, which are downloaded into its cache."""
    import open_clip

    facts = open_clip.get_pretrained_cfg(source.model, source.tag)
    try:
        file = str(open_clip.download_pretrained(facts))
    except Exception as error:  # open_clip, urllib and the hub each raise their own
        origin = f"hf.co/{facts['hf_hub'].rstrip('/')}" if facts.get("hf_hub") else facts.get("url")
        raise DataError(
            f"{_described(source)}: cannot fetch its weights from {origin}. Where there is no "
            f"network, copy {CONFIG_FILE} and the weights from there into a folder and give the "
            f"folder. The cause: {_short(error)}"
        ) from error
    return {
        "pretrained": file,
        # Some tags were trained with another activation than the model's name implies.
        "force_quick_gelu": facts.get("quick_gelu", False),
        # Without these, a file is scaled as for OpenAI's models, whatever the tag was trained on.
        **{
            f"image_{key}": facts.get(key)
            for key in ("mean", "std", "interpolation", "resize_mode")
        },
    }


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
        ONLY_TENSORS
        if "weights_only" in text
        else textwrap.shorten(text or type(error).__name__, _CAUSE_LENGTH)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of open_clip off the screen, and the root logger unconfigured."""
    root, hub = logging.getLogger(), logging.getLogger("huggingface_hub")
    silent, level = logging.NullHandler(), hub.level
    # open_clip logs by `logging.info`, which adds a screen handler to a root logger that has none.
    root.addHandler(silent)
    # The hub logs each of its ten tries; our own error line is enough.
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
        root.removeHandler(silent)
