"""Which checkpoints a run has, and which of them `latest` and `best` name. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from addkit.errors import RunError
from addkit.runs.atomic import write_text
from addkit.runs.integrity import fault_of

NAME = re.compile(r"step-(\d+)")


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of this step lies."""
    return folder / f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint's name tells."""
    return int(checkpoint.name.removeprefix("step-"))


def checkpoints_in(folder: Path) -> list[Path]:
    """All of them, whole or not, by step."""
    found = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def point(folder: Path, pointer: str, checkpoint: Path) -> None:
    """Let `latest` or `best` name this checkpoint."""
    write_text(folder / pointer, checkpoint.name + "\n")


def pointed_at(folder: Path, pointer: str) -> Path | None:
    """The checkpoint that `latest` or `best` names; None if there is no such checkpoint."""
    name = _name_in(folder / pointer) or ""
    path = folder / name
    return path if NAME.fullmatch(name) and (path / "progress.json").is_file() else None


def _name_in(pointer: Path) -> str | None:
    if not pointer.exists():
        return None
    return pointer.read_text("utf-8", errors="replace").strip()


def checkpoint_of(folder: Path) -> Path | None:
    """The checkpoint that `latest` names, its checksums unlooked at; None before the first.

    Raises:
        RunError: the pointer leads nowhere.
    """
    name = _name_in(folder / "latest")
    path = pointed_at(folder, "latest")
    if name is not None and path is None:
        raise RunError(
            f"{folder / 'latest'}: names {name!r}, which is missing or incomplete; "
            f"{_remedy(folder)}"
        )
    return path


def _remedy(folder: Path) -> str:
    there = [path for path in checkpoints_in(folder) if (path / "progress.json").is_file()]
    if there:
        return f"write {there[-1].name} into it, a checkpoint that is whole"
    return f"no other is there: {_anew(folder)}"


def _anew(folder: Path) -> str:
    return f"train anew with --run-dir {folder.parent} --fresh"


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and a line for each that was refused on the way to it.

    `latest` comes first, then the older ones, newest first, then those after `latest`, which a
    killed writer had no time to point at. Each is read once, for its checksums.

    Returns:
        None and no line before the first checkpoint.

    Raises:
        RunError: there are checkpoints, and none is whole; names what is wrong with each.
    """
    refused: list[str] = []
    for checkpoint in _by_rank(folder, refused):
        fault = fault_of(checkpoint)
        if fault is None:
            return checkpoint, refused
        refused.append(fault)
    if not refused:
        return None, []
    raise RunError(
        f"{folder}: no checkpoint is whole ({'; '.join(refused)}); "
        f"put back a copy of one, or {_anew(folder)}"
    )


def _by_rank(folder: Path, refused: list[str]) -> list[Path]:
    """Checkpoints in the order in which they are tried; notes a pointer that leads nowhere."""
    every = checkpoints_in(folder)[::-1]
    name = _name_in(folder / "latest")
    if name is None:
        return every
    latest = folder / name
    if latest not in every:
        refused.append(f"{folder / 'latest'}: names {name!r}, which is missing")
        return every
    return sorted(every, key=lambda path: (step_of(path) > step_of(latest), -step_of(path)))
