"""Files and folders that are written whole or not at all, and all that addkit ever deletes.

Files are deleted here alone, and only by names that addkit gives:

- a temporary, which is `.NAME.PID.tmp`, `.NAME.tmp`, `.NAME.gone.tmp` or `.NAME.old` for a NAME
  that its writer owns, by the lock of the folder it is in;
- a folder that a newer one replaces, such as an old checkpoint, if its checksums name all its
  files;
- what this process has made for something that failed before it contained anything of value.

Anything else stays. An error of a deletion never replaces the error that led to it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from addkit.runs.disk import disk_errors

CHECKSUMS = "checksums.json"
"""File in a folder that names all its other files, with sizes and checksums."""
TEMPORARY = re.compile(r"\.(.+?)(?:\.\d+|\.gone)?\.tmp|\.(.+)\.old")


@contextmanager
def whole_file(
    path: Path, needed: int | None = None, saved: Callable[[], Path | None] | None = None
) -> Iterator[Path]:
    """Yield a temporary path to write to; on success the file replaces `path`.

    Args:
        path: of the file.
        needed: its size in bytes, for an error.
        saved: see `disk_errors`.

    Raises:
        RunError: the disk is full, read-only or broken; `path` is as it was.
    """
    # The process's own name, since readers of one page or index may also write it.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path, needed, saved):
        try:
            yield temporary
            # Before the rename: a power cut after it could otherwise leave an empty file.
            fsync_path(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        # The rename itself is an entry of the folder, which has to reach the disk too.
        fsync_path(path.parent)


def write_text(path: Path, text: str, saved: Callable[[], Path | None] | None = None) -> None:
    """Replace a file by this text: a reader sees the old file or the new one. Raises as
    `whole_file`.
    """
    content = text.encode()
    with whole_file(path, len(content), saved) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json_text(value))


def write_files(folder: Path, texts: Mapping[Path, str]) -> None:
    """Write files into a new or empty folder: all, or none. Raises as `whole_file`."""
    folders = {parent for path in texts for parent in path.parents if parent.is_relative_to(folder)}
    made = missing({*texts, *folders})
    try:
        for path, text in texts.items():
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
    except BaseException:
        delete_made(folder, made)
        raise


def json_text(value: Any) -> str:
    """Indented JSON that ends with a line break."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Names of files may have bytes that are no UTF-8, which only escapes can hold.
    escaped = any("\ud800" <= sign <= "\udfff" for sign in text)
    return (json.dumps(value, indent=2) if escaped else text) + "\n"


def temporary_of(path: Path) -> Path:
    """The path of a folder that is not whole yet; the same in every process of a training."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder in the same folder; on success it replaces `path`. Raises as
    `whole_file`.
    """
    temporary = temporary_of(path)
    # A killed writer may have left one of the same name.
    delete_temporary(temporary)
    with disk_errors(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            put_in_place(temporary, path)
        except BaseException:
            delete_temporary(temporary)
            raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Replace `path` by a folder once all its files have reached the disk.

    A folder that exists there is first renamed to `.NAME.old`, since no system call exchanges two
    folders everywhere. A process that is killed between the two renames leaves it under that name,
    and `clean_temporaries` puts it back. With files that its checksums do not name it stays, as
    `NAME.old-1`.
    """
    mode = temporary.stat().st_mode & 0o666
    # Files, then folders, then the rename: in no order of a crash does a name lead to lost content.
    for inner in temporary.rglob("*"):
        # safetensors makes files that their owner alone may read; the folder has the umask's mode.
        if inner.is_file() and inner.stat().st_mode & 0o777 != mode:
            with suppress(OSError):  # Some file systems have no modes.
                inner.chmod(mode)
        fsync_path(inner)
    fsync_path(temporary)
    aside = None
    if path.exists():
        aside = path.with_name(f".{path.name}.old")
        if foreign_files(path):
            aside = unused(path, "old")
        path.rename(aside)
    try:
        temporary.rename(path)
    except BaseException:
        if aside is not None:
            with suppress(OSError):
                aside.rename(path)
        raise
    if aside is not None and aside.suffix == ".old":
        delete_temporary(aside)
    fsync_path(path.parent)


def unused(path: Path, word: str) -> Path:
    """The first of `NAME.WORD-1`, `NAME.WORD-2`, ... that does not exist."""
    numbered = (path.with_name(f"{path.name}.{word}-{number}") for number in range(1, 10_000))
    return next(candidate for candidate in numbered if not os.path.lexists(candidate))


def foreign_files(folder: Path) -> list[str]:
    """Names of the files in a folder that its checksums do not name: all, where it has none."""
    if folder.is_symlink():
        return [folder.name]
    try:
        listed = {CHECKSUMS, *json.loads((folder / CHECKSUMS).read_text("utf-8"))}
    except (OSError, ValueError, TypeError):
        listed = set()
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted({path.relative_to(folder).as_posix() for path in files} - listed)


def discard(path: Path) -> None:
    """Delete a folder; readers see it whole or not at all, also when the deletion is cut short.
    Raises `FileExistsError` if it contains files that its checksums do not name.
    """
    if foreign := foreign_files(path):
        raise FileExistsError(f"it contains {foreign[0]}, which is not of addkit")
    # Renamed first: a kill in the middle of the deletion leaves a temporary, not half a checkpoint.
    gone = path.with_name(f".{path.name}.gone.tmp")
    path.rename(gone)
    shutil.rmtree(gone)


def clean_temporaries(folder: Path, names: str) -> None:
    """Delete what a killed writer left, and put back what it was replacing.

    Only for the owner of the folder's lock. What cannot be deleted stays.

    Args:
        folder: of the temporaries.
        names: a regular expression of the files and folders that are written there.
    """
    for temporary in folder.glob(".*"):
        match = TEMPORARY.fullmatch(temporary.name)
        if match is None or not re.fullmatch(names, match[1] or match[2]):
            continue
        path = folder / (match[2] or "")
        if match[2] and not path.exists():
            temporary.rename(path)
        else:
            delete_temporary(temporary)


def delete_temporary(path: Path) -> None:
    """Delete a temporary, if it can be; what a symbolic link leads to stays."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def missing(paths: Collection[Path]) -> frozenset[Path]:
    """Those that do not exist, not even as a link to nowhere, and that a process can make."""
    return frozenset(path for path in paths if not os.path.lexists(path))


def delete_made(folder: Path, made: Collection[Path]) -> None:
    """Delete what this process has made in a folder, the folder too if it is among it; nothing if
    another file is in there. What cannot be deleted stays.

    Args:
        folder: of a run or package that came to nothing.
        made: `missing` paths, from before the first of them was written.
    """
    with suppress(OSError):
        if any(not path.is_dir() and path not in made for path in folder.rglob("*")):
            return
    # Files before their folders, which are deleted only while they are empty.
    for path in sorted(made, reverse=True):
        with suppress(OSError):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)


def fsync_path(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
