"""The images that a command line names: files, folders of them, standard input."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from addkit.errors import DataError, guess
from addkit.plugin.facts import DataFacts

ImageFile = Path | BinaryIO

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Endings of the files of a folder that are images."""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a command line names, or that lies in a folder that it names."""

    name: str
    file: ImageFile | None = None
    """None if it cannot be read."""
    refused: str = ""
    """The sentence on why it cannot be read, which begins with the name; empty if it can."""

    @property
    def reason(self) -> str:
        """The sentence without the name."""
        return self.refused.removeprefix(f"{self.name}: ")


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """All named files, in order."""

    named: list[NamedFile]

    @property
    def images(self) -> list[tuple[str, ImageFile]]:
        """(name, file) of those that are not refused."""
        return [(each.name, each.file) for each in self.named if each.file is not None]

    @property
    def refused(self) -> list[str]:
        """A sentence for each of the others."""
        return [each.refused for each in self.named if each.file is None]


def find_images(words: list[str]) -> ImageFiles:
    """The images that the words name: files, folders of them, `-` for stdin."""
    named: list[NamedFile] = []
    for word in words:
        if word == "-":
            # Read whole: a decoder must be able to seek.
            named.append(NamedFile("-", BytesIO(sys.stdin.buffer.read())))
        elif not word:
            # As a path it would be the working directory.
            refused = '"": an empty name; give a file or a folder'
            named.append(NamedFile("", refused=refused))
        else:
            # A word that cannot be read is refused with its reason, and the others are read.
            try:
                named += [NamedFile(str(file), file) for file in _below(Path(word))]
            except DataError as error:
                named.append(NamedFile(str(Path(word)), refused=str(error)))
            except OSError as error:
                refused = f"{word}: cannot be read ({error.strerror})"
                named.append(NamedFile(word, refused=refused))
    return ImageFiles(named)


def _below(path: Path) -> list[Path]:
    """The file itself, or the images of a folder and its sub-folders."""
    if path.is_file():
        return [path]
    if path.is_dir():
        # A pipe with an image's name is left out: reading it might never end.
        # Sorted, since the order of a folder's entries differs between machines.
        images = sorted(
            file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()
        )
        if images:
            return images
        reason = f"no image in this folder (looked for {', '.join(sorted(ENDINGS))})"
    elif path.exists():
        reason = "neither a file nor a folder; send a pipe to standard input, and give -"
    elif path.is_symlink():
        reason = "a link that leads nowhere"
    else:
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        reason = f"no such file or folder{guess(path.name, names)}"
    raise DataError(f"{path}: {reason}")


def readable(files: ImageFiles, facts: DataFacts) -> ImageFiles:
    """The same files, with those refused that cannot be decoded to the encoder's input."""
    from addkit.data.images import prepare_image

    checked = []
    for each in files.named:
        if each.file is not None:
            try:
                prepare_image(rewind(each.file), facts)
            except DataError as error:
                each = NamedFile(each.name, refused=str(error))
            # A small file may decode to a huge picture.
            except MemoryError:
                refused = f"{each.name}: too large for this machine's memory"
                each = NamedFile(each.name, refused=refused)
        checked.append(each)
    return ImageFiles(checked)


def rewind(file: ImageFile) -> ImageFile:
    """The file, to be read from its start."""
    if not isinstance(file, Path):
        file.seek(0)
    return file
