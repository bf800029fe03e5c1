"""The run or ablation that a command line names."""

from __future__ import annotations

from pathlib import Path

from addkit.cli.output import note
from addkit.errors import RunError, guess
from addkit.runs import RUNS, newest_run


def find_folder(word: str | Path) -> Path:
    """The folder of a run or an ablation: a path, or a bare name below ./runs.

    A checkpoint of a run is found too, by its path or by a pointer: `RUN/checkpoints/best`. Raises
    `RunError` if there is none; the text guesses the nearest name.
    """
    path = Path(word)
    if path.is_dir() or (path.is_file() and path.parent.name == "checkpoints"):
        return path
    if ".." not in path.parts and (RUNS / path).is_dir():
        return RUNS / path
    parent = path.parent if path.parent != Path() else RUNS
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    what = "a file, not a run's folder" if path.is_file() else "no such run folder"
    near = guess(path.name, names) or "; `addkit runs list` lists those in runs/"
    raise RunError(f"{path}: {what}{near}")


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


def find_run(path: Path | None) -> Path:
    """The named run, or the newest finished one with a note about it on stderr."""
    if path is not None:
        return find_folder(path)
    run = newest_run()
    note(f"run: {run.path} (the newest finished one; --run names another)")
    return run.path
