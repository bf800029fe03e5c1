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
    """Yield where to write a file; on success it takes the place of `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        fsync_path(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text: a reader sees the old file or the new one."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Indented JSON that ends with a line."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def temporary_of(path: Path) -> Path:
    """Where a folder is written before it is whole; the same name in every process."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`."""
    temporary = temporary_of(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        put_in_place(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Let a folder take the place of `path` once all it holds has reached the disk.

    A folder that stood there is first renamed to `.NAME.old`. Whoever is killed between the two
    renames leaves it so, and `clean_temporaries` puts it back.
    """
    for inner in temporary.rglob("*"):
        fsync_path(inner)
    fsync_path(temporary)
    if path.exists():
        path.rename(path.with_name(f".{path.name}.old"))
    try:
        temporary.rename(path)
    finally:
        _settle_replaced(path.parent)
    fsync_path(path.parent)


def discard(path: Path) -> None:
    """Delete a folder; it is gone from readers' eyes at once, whatever happens on the way."""
    gone = path.with_name(f".{path.name}.gone.tmp")
    path.rename(gone)
    shutil.rmtree(gone)


def clean_temporaries(folder: Path) -> None:
    """Remove what a killed writer left. Only for the one who holds the run's lock."""
    _settle_replaced(folder)
    for left in folder.glob(".*.tmp"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _settle_replaced(folder: Path) -> None:
    """A folder that was set aside goes back to its place, or away if another has taken it."""
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
