"""The run, pack or ablation that a command line names."""

from __future__ import annotations

import os
from pathlib import Path

from addkit.cli.output import animated, note
from addkit.errors import RunError, guess
from addkit.runs import RUNS, newest_run
from addkit.runs.disk import format_bytes
from addkit.runs.remote import download, is_remote


def find_folder(word: str | Path) -> Path:
    """The folder of a run or an ablation: a path, or a bare name below ./runs.

    A checkpoint of a run is found too, by its path or by a pointer: `RUN/checkpoints/best`. Raises
    `RunError` if there is none; the text guesses the nearest name.
    """
    path = _existing(word)
    if path.is_file() and path.parent.name != "checkpoints":
        raise RunError(
            f"{path}: a file, not a run's folder; a pack can be sampled, evaluated and exported"
        )
    return path


def _existing(word: str | Path) -> Path:
    """The file or folder of this path, or of this name below ./runs."""
    path = Path(word)
    if path.is_dir() or path.is_file():
        return path
    if ".." not in path.parts and (RUNS / path).is_dir():
        return RUNS / path
    parent = path.parent if path.parent != Path() else RUNS
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    near = guess(path.name, names) or "; `addkit runs list` lists those in runs/"
    raise RunError(f"{path}: no such run folder{near}")


def run_named(word: Path) -> Path | None:
    """The folder of a run that was given where a recipe is expected; None if it is a recipe.

    A run is a path, or a bare name below ./runs. The bare name of a known recipe is the recipe,
    even if a run has the same name.
    """
    from addkit.recipe.files import known_recipes

    if str(word) in known_recipes():
        return None
    folders = (word,) if ".." in word.parts else (word, RUNS / word)
    runs = (path for path in folders if (path / "recipe.toml").is_file())
    return next(runs, None)


def find_run(word: str | Path | None) -> Path | str:
    """What `addkit.load` opens for a word of a user: a path, or the name of a pack
    elsewhere; without a word the newest finished run, with a note about it on stderr.

    A URL is downloaded, and its checksum shown and added to it, so that it is downloaded once.
    """
    if word is None:
        run = newest_run()
        note(f"run: {run.path} (the newest finished one; --run names another)")
        return run.path
    if not is_remote(word):
        return _existing(word)
    if word.startswith("hf://"):
        quiet_hub()
        return word
    file, digest = download(word)
    pinned = f"{word.partition('#')[0]}#sha256={digest}"
    note(f"pack: {pinned} ({format_bytes(file.stat().st_size)})")
    return pinned


def quiet_hub() -> None:
    """Leave out huggingface_hub's progress bars where a terminal does not show them."""
    if not animated():
        # Read when it is imported.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
