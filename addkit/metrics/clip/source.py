"""Which CLIP: an open_clip model with a tag or a weight file, or a folder with both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from addkit.errors import UsageError, guess

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

    Raises:
        UsageError: no such model, tag or file, or the folder lacks something.
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
