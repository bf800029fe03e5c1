"""One listing of the files of a folder, for training, shards and sampling. No torch.

Files are found by their names alone, in the order of their paths, while the listing runs. What an
operating system leaves behind is ignored by name, and each folder is listed once, however many
links lead to it: a link to a folder above would repeat its images, under wrong labels.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from addkit.data.formats import is_picture

LITTER = "hidden and system files"
LINKS = "links to folders that are listed elsewhere"
SPECIAL = "pipes, sockets and devices"
BESIDE = "folders beside the splits"
OTHERS = "files that are no pictures"

# Lower case, as systems write both spellings.
_LITTER = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "__pycache__", "lost+found"),
    *("@eadir", "#recycle", "$recycle.bin", "system volume information"),
}
_EXAMPLES = 3


def visible(name: str) -> bool:
    """False for hidden files and what systems leave behind: Thumbs.db, __MACOSX, @eaDir."""
    return not name.startswith(".") and name.lower() not in _LITTER


class Ignored:
    """What listings left out, by reason, and folders that could not be read.

    Filled while they run; of many entries only some names are kept.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.unreadable: list[str] = []
        """A sentence for each folder."""

    def add(self, reason: str, path: str) -> None:
        """Count an entry."""
        self.counts[reason] += 1
        if len(self.examples[reason]) < _EXAMPLES:
            self.examples[reason].append(path)

    def line(self) -> str:
        """Such as `left out: hidden and system files: 4 (a/.x, b/.x, c/.x, ...)`, or empty."""
        parts = []
        for reason, count in self.counts.items():
            more = ", ..." if count > len(self.examples[reason]) else ""
            parts.append(f"{reason}: {count:,} ({', '.join(self.examples[reason])}{more})")
        return f"left out: {'; '.join(parts)}" if parts else ""


class Lister:
    """Lists the files below a folder, each folder once.

    Args:
        root: the folder.
        ignored: collects what is left out.
    """

    def __init__(self, root: Path, ignored: Ignored) -> None:
        self.ignored = ignored
        self._root = root.resolve()
        self._listed: set[tuple[int, int]] = set()

    def entries(self, folder: str) -> tuple[list[str], list[str]]:
        """The names of its sub-folders that were not listed before, and of its files, sorted."""
        folders: list[str] = []
        files: list[str] = []
        others = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    # Plain files first: of millions, hardly anything else may be asked.
                    if visible(entry.name) and entry.is_file(follow_symlinks=False):
                        files.append(entry.name)
                    else:
                        others.append(entry)
        except OSError as error:
            self.ignored.unreadable.append(f"{folder}: cannot be read ({error.strerror})")
        for entry in sorted(others, key=lambda entry: entry.name):
            try:
                if not visible(entry.name):
                    self.ignored.add(LITTER, entry.path)
                # A link that leads nowhere is a file that cannot be read: its picture is missing.
                elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                    files.append(entry.name)
                elif entry.is_dir():
                    if self._is_new(entry):
                        folders.append(entry.name)
                    else:
                        self.ignored.add(LINKS, entry.path)
                elif entry.is_file():
                    files.append(entry.name)
                else:  # reading it might never end
                    self.ignored.add(SPECIAL, entry.path)
            except OSError as error:
                self.ignored.unreadable.append(f"{entry.path}: cannot be read ({error.strerror})")
        return folders, sorted(files)

    def below(self, folder: str) -> Iterator[str]:
        """The paths of all files below it, in the order of the paths."""
        # Folders with the names in them that are left, the next one last.
        open_folders = [(f"{folder}{os.sep}", self._names(folder))]
        while open_folders:
            above, names = open_folders[-1]
            if not names:
                open_folders.pop()
            elif (name := names.pop())[-1] == os.sep:
                open_folders.append((f"{above}{name}", self._names(f"{above}{name[:-1]}")))
            else:
                yield f"{above}{name}"

    def _names(self, folder: str) -> list[str]:
        """Names of files, and of folders with a separator, from the last to the first."""
        folders, files = self.entries(folder)
        # With separators, as sorted paths have it: "cat-big/" comes before "cat/".
        return sorted([*files, *(f"{name}{os.sep}" for name in folders)], reverse=True)

    def _is_new(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink():
            target = Path(entry.path).resolve()
            here = Path(entry.path).parent.resolve()
            # Below the root it is listed in its own place; from above, all of it would come again.
            above = here.is_relative_to(target) or self._root.is_relative_to(target)
            if above or target.is_relative_to(self._root):
                return False
        state = entry.stat()
        key = state.st_dev, state.st_ino
        is_new = key not in self._listed
        self._listed.add(key)
        return is_new


def list_pictures(folder: Path, ignored: Ignored) -> Iterator[str]:
    """The paths of the pictures below a folder, as they are found, whatever their endings.

    A file counts if its ending is a picture's or it begins as one, whether or not it can be
    decoded. Other files, and folders that cannot be read, are named in `ignored`.
    """
    for listed in Lister(folder, ignored).below(str(folder)):
        path = listed.removeprefix(f".{os.sep}")
        try:
            if is_picture(path):
                yield path
            else:
                ignored.add(OTHERS, path)
        except OSError:
            yield path  # the decoder names its error
