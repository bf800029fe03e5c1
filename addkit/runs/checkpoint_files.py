"""Checkpoints of a run as files: names, `latest` and `best`, checksums, and which stay. No torch.

Loading and writing the tensors is in `addkit.runs.checkpoint`.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addkit.errors import AddkitWarning, RunError
from addkit.runs.atomic import CHECKSUMS, discard, write_text

NAME = re.compile(r"step-(\d+)")
FILES = r"step-\d+|latest|best"
"""What is written into the folder, for `clean_temporaries`."""


def path_of(folder: Path, step: int) -> Path:
    """The path of a step's checkpoint."""
    return folder / f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.name.removeprefix("step-"))


def checkpoints_in(folder: Path) -> list[Path]:
    """All checkpoints, whole or not, by step."""
    paths = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)]
    # By number: names of more than eight digits do not sort as text.
    return sorted(paths, key=step_of)


# The pointers `latest` and `best`: text files that name a checkpoint. A symbolic link would not
# survive every file system and archive.


def point(
    folder: Path, pointer: str, checkpoint: Path, saved: Callable[[], Path | None] | None = None
) -> None:
    """Let `latest` or `best` name this checkpoint; `saved` as for `disk_errors`."""
    write_text(folder / pointer, checkpoint.name + "\n", saved)


def pointed_at(folder: Path, pointer: str) -> Path | None:
    """The checkpoint that `latest` or `best` names; None if there is no such checkpoint."""
    name = _name_in(folder / pointer) or ""
    path = folder / name
    # The name is matched, so that a pointer cannot lead out of the folder.
    return path if NAME.fullmatch(name) and (path / "progress.json").is_file() else None


def _name_in(pointer: Path) -> str | None:
    """None for a pointer that is missing or no file."""
    try:
        return pointer.read_text("utf-8", errors="replace").strip()
    except OSError:
        return None


def checkpoint_of(folder: Path) -> Path | None:
    """The checkpoint that `latest` names, its checksums not compared; None before the first.

    Where `latest` is missing or names none, `newest_whole` with a warning for each line of it.
    """
    if path := pointed_at(folder, "latest"):
        return path
    path, refused = newest_whole(folder)
    for line in refused:
        warnings.warn(line, AddkitWarning, stacklevel=2)
    return path


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint to resume from, and a line for each that was refused on the way to it.

    `latest` comes first, then the older ones, newest first, then those after `latest`, which a
    killed writer had no time to point at. Each is read once, for its checksums. A `latest` that is
    missing or names none is written anew, where the folder can be written.

    Returns:
        None and no line before the first checkpoint.

    Raises:
        RunError: there are checkpoints, or `latest` is there, and none is whole; names the fault of
            each.
    """
    refused: list[str] = []
    candidates = checkpoints_in(folder)[::-1]
    pointer, lost = folder / "latest", ""
    name = _name_in(pointer)
    latest = folder / (name or "")
    if name is not None and latest in candidates:
        # False sorts before True: up to `latest` first, newest first within both.
        candidates.sort(key=lambda path: (step_of(path) > step_of(latest), -step_of(path)))
    elif candidates or name is not None:
        lost = f"{pointer}: {'missing' if name is None else f'names {name!r}, which is missing'}"
        refused.append(lost)
    for checkpoint in candidates:
        fault = fault_of(checkpoint)
        if fault is None:
            if lost:
                refused[0] = f"{lost}; {checkpoint.name} is the newest checkpoint that is whole"
            if pointed_at(folder, "latest") is None:
                with suppress(RunError):
                    point(folder, "latest", checkpoint)
            return checkpoint, refused
        refused.append(fault)
    if not refused:
        return None, []
    raise RunError(
        f"{folder}: no checkpoint is whole ({'; '.join(refused)}); "
        f"put back a copy of one, or train anew with --run-dir {folder.parent} --fresh"
    )


# Checksums: written with a checkpoint, compared before it is used.


def seal(folder: Path) -> None:
    """Write `checksums.json`: size and SHA-256 of every file in the folder and below it."""
    # Sub-folders too: a sharded training has files of other processes in them.
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sums = {
        path.relative_to(folder).as_posix(): checksum_of(path)
        for path in files
        if path != folder / CHECKSUMS
    }
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def checksum_of(path: Path) -> dict[str, int | str]:
    """A file's entry in `checksums.json`."""
    return {"size": path.stat().st_size, "sha256": digest_of(path)}


def fault_of(checkpoint: Path, *, digests: bool = True, only: str | None = None) -> str | None:
    """The first file that differs from what was written, and how; None if all are as written.

    A checkpoint without `checksums.json`, from before there was such a file, is not checked.

    Args:
        checkpoint: its folder.
        digests: False compares sizes alone, which reads no file.
        only: the name of one file, which the others' faults do not concern; None for all.
    """
    file = checkpoint / CHECKSUMS
    if not file.exists():
        needed = checkpoint / (only or "progress.json")
        return None if needed.is_file() else f"{needed}: missing"
    try:
        sums: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8"))
        if only is not None:
            sums = {only: sums[only]}
        faults = (_fault(checkpoint / name, written, digests) for name, written in sums.items())
        return next((fault for fault in faults if fault), None)
    except LookupError as error:
        return f"{file}: cannot be read: it lacks the entry {error}"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return f"{file}: cannot be read: {error}"


def _fault(file: Path, written: dict[str, Any], digests: bool) -> str | None:
    if not file.is_file():
        return f"{file}: missing"
    # The size first: it costs nothing, and a truncated file is the usual fault.
    size = file.stat().st_size
    if size < written["size"]:
        return f"{file}: truncated: {size} of {written['size']} bytes"
    if size > written["size"]:
        return f"{file}: altered: {size} bytes in place of {written['size']}"
    try:
        altered = digests and digest_of(file) != written["sha256"]
    except OSError as error:
        return f"{file}: cannot be read: {error}"
    return f"{file}: altered: its checksum differs" if altered else None


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Which checkpoints stay.


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Checkpoints that stay when a new one is whole; `best` and `latest` always do."""

    last: int = 2
    """The newest ones, the new one among them."""
    every: int = 0
    """Checkpoints whose step is a multiple of this, 0 aside, are never deleted; 0 disables."""


def delete_old(folder: Path, keep: Keep, step: int) -> list[str]:
    """Delete the checkpoints that need not stay now that the one of `step` is whole.

    Checkpoints of later steps, left by a training that was resumed from an older one, stay and do
    not count among the newest. Nor do visibly broken ones. One with a file of the user's stays.

    Returns:
        a warning for each that could not be deleted; a training continues without.
    """
    until = [path for path in checkpoints_in(folder) if step_of(path) <= step]
    # Sizes alone: digests of every old checkpoint at every save would cost minutes.
    whole = [path for path in until if fault_of(path, digests=False) is None]
    staying = {*whole[-keep.last :], pointed_at(folder, "latest"), pointed_at(folder, "best")}
    failures = []
    for path in until:
        forever = keep.every > 0 and step_of(path) > 0 and step_of(path) % keep.every == 0
        if path in staying or forever:
            continue
        try:
            discard(path)
        except OSError as error:
            failures.append(
                f"{path}: an old checkpoint cannot be deleted: {error}; delete it by hand"
            )
    return failures
