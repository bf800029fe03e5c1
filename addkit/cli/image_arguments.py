"""Which run and which images a command line means."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from addkit.cli.output import note
from addkit.errors import DataError, RunError, guess
from addkit.plugin.facts import DataFacts
from addkit.runs import RUNS, newest_run

ImageFile = Path | BinaryIO

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""What a folder's files must end in to be taken for images."""


def find_folder(word: str | Path) -> Path:
    """The folder of a run or an ablation: a path, or its bare name below ./runs.

    Also one of a run's checkpoints, or what names one: `RUN/checkpoints/best`.

    Raises:
        RunError: there is none; guesses which was meant.
    """
    path = Path(word)
    if path.is_dir() or (path.is_file() and path.parent.name == "checkpoints"):
        return path
    if (RUNS / path).is_dir():
        return RUNS / path
    parent = path.parent if path.parent != Path() else RUNS
    names = [one.name for one in parent.iterdir()] if parent.is_dir() else []
    what = "a file, not a run's folder" if path.is_file() else "no such run folder"
    near = guess(path.name, names) or "; `addkit runs list` lists those in runs/"
    raise RunError(f"{path}: {what}{near}")


def run_named(word: Path) -> Path | None:
    """The folder of the run that stands in a recipe's place: a path, or a bare name below ./runs.

    None if the word means a recipe. A known recipe's bare name does, whatever else has it.
    """
    from addkit.recipe.files import known_recipes

    if str(word) in known_recipes():
        return None
    runs = (path for path in (word, RUNS / word) if (path / "recipe.toml").is_file())
    return next(runs, None)


def find_run(path: Path | None) -> Path:
    """The named run, or the newest finished one, which is told on stderr."""
    if path is not None:
        return find_folder(path)
    run = newest_run()
    note(f"run: {run.path} (the newest finished one; --run names another)")
    return run.path


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a command line names or a folder of it holds."""

    name: str
    file: ImageFile | None = None
    refused: str = ""
    """The sentence on why it cannot be read, which begins with the name; empty if it can."""

    @property
    def reason(self) -> str:
        """The sentence without the name."""
        return self.refused.removeprefix(f"{self.name}: ")


@dataclass(frozen=True, slots=True)
class Found:
    """What was named, in order."""

    named: list[Named]

    @property
    def images(self) -> list[tuple[str, ImageFile]]:
        """(name to show, file) of those that can be read, as far as is known."""
        return [(one.name, one.file) for one in self.named if one.file is not None]

    @property
    def refused(self) -> list[str]:
        """A sentence for each other one."""
        return [one.refused for one in self.named if one.file is None]


def find_images(words: list[str]) -> Found:
    """The image that each word means, folders opened, `-` read from stdin."""
    return Found([one for word in words for one in _named(word)])


def _named(word: str) -> list[Named]:
    if word == "-":
        return [Named("-", BytesIO(sys.stdin.buffer.read()))]
    if not word:
        # As a path it would be the working directory.
        return [Named("", refused='"": an empty name; give a file or a folder')]
    path = Path(word)
    try:
        return [Named(str(path), path) for path in _below(path)]
    except DataError as error:
        return [Named(str(path), refused=str(error))]
    except OSError as error:
        return [Named(word, refused=f"{word}: cannot be read ({error.strerror})")]


def readable(found: Found, facts: DataFacts) -> Found:
    """The same, those refused that cannot be read as the encoder's input."""
    return Found([one if one.file is None else _tried(one, one.file, facts) for one in found.named])


def _tried(one: Named, file: ImageFile, facts: DataFacts) -> Named:
    from addkit.data.images import prepare_image

    try:
        prepare_image(rewind(file), facts)
    except DataError as error:
        return Named(one.name, refused=str(error))
    except MemoryError:
        return Named(one.name, refused=f"{one.name}: too large for this machine's memory")
    return one


def _below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: {_why_not(path)}")
    # A pipe with an image's name would be waited for without end.
    images = sorted(
        file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()
    )
    if not images:
        raise DataError(
            f"{path}: no image in this folder (looked for {', '.join(sorted(ENDINGS))})"
        )
    return images


def _why_not(path: Path) -> str:
    if path.exists():
        return "neither a file nor a folder; give what a pipe holds to standard input, with -"
    if path.is_symlink():
        return "a link that leads nowhere"
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"no such file or folder{guess(path.name, names)}"


def rewind(file: ImageFile) -> ImageFile:
    """The file, ready to be read from its start again."""
    if not isinstance(file, Path):
        file.seek(0)
    return file
