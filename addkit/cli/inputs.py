"""Which run and which images a command line means."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from addkit.cli.output import note
from addkit.errors import DataError, RunError
from addkit.plugin.guess import guess
from addkit.plugin.protocols import DataFacts
from addkit.runs import RUNS, newest_run

__all__ = ["Found", "find_folder", "find_images", "find_run", "readable", "rewind"]

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
    raise RunError(f"{path}: no such run folder{guess(path.name, names)}")


def find_run(path: Path | None) -> Path:
    """The named run, or the newest finished one, which is told on stderr."""
    if path is not None:
        return find_folder(path)
    run = newest_run()
    note(f"run: {run.path} (the newest finished one; --run names another)")
    return run.path


@dataclass(frozen=True, slots=True)
class Found:
    """Images, and what was named but holds none."""

    images: list[tuple[str, ImageFile]] = field(default_factory=list)
    """(name to show, file)."""
    refused: list[str] = field(default_factory=list)
    """A sentence for each."""


def find_images(words: list[str]) -> Found:
    """The image that each word means, folders opened, `-` read from stdin."""
    found = Found()
    for word in words:
        if word == "-":
            found.images.append(("-", BytesIO(sys.stdin.buffer.read())))
            continue
        try:
            found.images.extend((str(path), path) for path in _below(Path(word)))
        except DataError as error:
            found.refused.append(str(error))
        except OSError as error:
            found.refused.append(f"{word}: cannot be read ({error.strerror})")
    return found


def readable(files: list[tuple[str, ImageFile]], facts: DataFacts) -> Found:
    """Those of the files that can be read as the encoder's input, and why the others cannot."""
    from addkit.data.prepare import prepare_image

    found = Found()
    for name, file in files:
        try:
            prepare_image(rewind(file), facts)
        except DataError as error:
            found.refused.append(str(error))
        except MemoryError:
            found.refused.append(f"{name}: too large for this machine's memory")
        else:
            found.images.append((name, file))
    return found


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
