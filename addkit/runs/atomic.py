"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success the file replaces `path`."""
    # The process's own name, since readers of one page or index may also write it.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        # Before the rename: a power cut after it could otherwise leave an empty file in its place.
        fsync_path(temporary)
        temporary.replace(path)
    except BaseException:
        # The error that comes first is the one to report, not one of tidying up.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    # The rename itself is an entry of the folder, which has to reach the disk too.
    fsync_path(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text: a reader sees the old file or the new one."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json_text(value))


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
    """Yield a temporary folder in the same folder; on success it replaces `path`."""
    temporary = temporary_of(path)
    # A killed writer may have left one of the same name.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        put_in_place(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Replace `path` by a folder once all its files have reached the disk.

    A folder that exists there is first renamed to `.NAME.old`, since no system call exchanges two
    folders everywhere. A process that is killed between the two renames leaves it under that name,
    and `clean_temporaries` puts it back.
    """
    # Files, then folders, then the rename: in no order of a crash does a name lead to lost content.
    for inner in temporary.rglob("*"):
        fsync_path(inner)
    fsync_path(temporary)
    if path.exists():
        path.rename(path.with_name(f".{path.name}.old"))
    try:
        temporary.rename(path)
    finally:
        # Also after a failed rename: then the old folder goes back.
        _settle_replaced(path.parent)
    fsync_path(path.parent)


def discard(path: Path) -> None:
    """Delete a folder; readers see it whole or not at all, also when the deletion is cut short."""
    # Renamed first: a kill in the middle of the deletion leaves a temporary, not half a checkpoint.
    gone = path.with_name(f".{path.name}.gone.tmp")
    path.rename(gone)
    shutil.rmtree(gone)


def clean_temporaries(folder: Path) -> None:
    """Remove what a killed writer left. Only for the owner of the run's lock."""
    _settle_replaced(folder)
    for temporary in folder.glob(".*.tmp"):
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink()


def _settle_replaced(folder: Path) -> None:
    """Put back a folder that was renamed, or delete it if a new one has replaced it."""
    for aside in folder.glob(".*.old"):
        path = aside.with_name(aside.name.removeprefix(".").removesuffix(".old"))
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(path)


def fsync_path(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
