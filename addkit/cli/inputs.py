"""Which run and which images a command line means."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from addkit.cli.output import note
from addkit.errors import DataError
from addkit.plugin.guess import guess
from addkit.runs import newest_run

__all__ = ["find_images", "find_run", "rewind"]

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""What a folder's files must end in to be taken for images."""


def find_run(path: Path | None) -> Path:
    """The named run, or the newest finished one, which is told on stderr."""
    if path is not None:
        return path
    run = newest_run()
    note(f"run: {run.path} (the newest finished one; --run names another)")
    return run.path


def find_images(words: list[str]) -> list[tuple[str, Path | BinaryIO]]:
    """(name to show, file) for each image, folders opened, `-` read from stdin.

    Raises:
        DataError: no such file, or a folder without images.
    """
    found: list[tuple[str, Path | BinaryIO]] = []
    for word in words:
        if word == "-":
            found.append(("-", BytesIO(sys.stdin.buffer.read())))
        else:
            found += [(str(path), path) for path in _below(Path(word))]
    return found


def _below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        folder = path.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        raise DataError(f"{path}: no such file or folder{guess(path.name, names)}")
    images = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
    if not images:
        raise DataError(
            f"{path}: no image in this folder (looked for {', '.join(sorted(ENDINGS))})"
        )
    return images


def rewind(file: Path | BinaryIO) -> Path | BinaryIO:
    """The file, ready to be read from its start again."""
    if not isinstance(file, Path):
        file.seek(0)
    return file
