"""Which CLIP: an open_clip model with a tag or a weight file, or a folder that holds both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from addkit.errors import UsageError, guess

CONFIG_FILE = "open_clip_config.json"
"""What open_clip calls a model's description in a folder."""
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")
FOLDER_WEIGHTS = (".safetensors", ".pth", ".bin")
"""Those that open_clip looks for in a folder."""
FORMS = "MODEL:TAG (ViT-B-32:openai), MODEL:FILE (ViT-B-32:weights.safetensors) or FOLDER"


@dataclass(frozen=True, slots=True)
class ClipTag:
    """A model with weights that open_clip knows by a tag, and fetches once."""

    model: str
    tag: str


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A model that open_clip knows, with weights in a local file.

    The file does not say how it was trained: weights trained with QuickGELU need the model name
    that ends in `-quickgelu`, and images are scaled as for OpenAI's models. A folder says both.
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

    Raises:
        UsageError: no such model, tag or file, or the folder lacks something.
    """
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        return _folder(folder)
    model, _, weights = text.partition(":")
    model = model.replace("/", "-")  # OpenAI writes ViT-B/32
    _refuse_unknown_model(text, model)
    return _weights(text, model, weights)


def _folder(path: Path) -> ClipFolder:
    if not (path / CONFIG_FILE).is_file():
        raise UsageError(f'CLIP folder "{path}" has no {CONFIG_FILE}, which describes the model')
    if not any(file.suffix in FOLDER_WEIGHTS for file in path.iterdir()):
        kinds = ", ".join(f"*{kind}" for kind in FOLDER_WEIGHTS)
        raise UsageError(f'CLIP folder "{path}" has no weights: none of {kinds}')
    return ClipFolder(path)


def _refuse_unknown_model(text: str, model: str) -> None:
    import open_clip

    known = open_clip.list_models()
    if model in known:
        return
    if ":" not in text and not guess(model, known):
        raise UsageError(f'CLIP "{text}": no such folder, and no model; give {FORMS}')
    raise UsageError(
        f'CLIP "{text}": open_clip {open_clip.__version__} has no model "{model}"'
        f"{guess(model, known)}; open_clip.list_models() names all {len(known)}; give {FORMS}"
    )


def _weights(text: str, model: str, weights: str) -> ClipSource:
    import open_clip

    if open_clip.is_pretrained_cfg(model, weights):
        return ClipTag(model, weights)
    path = Path(weights).expanduser()
    if path.is_file():
        return ClipFile(model, path)
    if path.suffix in WEIGHT_FILES or path.name != weights:
        raise UsageError(f'CLIP "{text}": no file "{path}"')
    tags = open_clip.list_pretrained_tags_by_model(model)
    asked = f'open_clip has no weights "{weights}" for {model}' if weights else "which weights?"
    allowed = f"its tags are {', '.join(tags)}" if tags else "it has no tags"
    raise UsageError(
        f'CLIP "{text}": {asked}{guess(weights, tags)}; {allowed}; or name a file, '
        f"{model}:weights.safetensors"
    )
