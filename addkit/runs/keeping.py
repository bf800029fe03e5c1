"""Which checkpoints stay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from addkit.runs.atomic import discard
from addkit.runs.integrity import fault_of
from addkit.runs.pointers import checkpoints_in, pointed_at, step_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Checkpoints that stay when a new one is whole; `best` and `latest` always do."""

    last: int = 2
    """The newest ones, the new one among them."""
    every: int = 0
    """Those whose step is a multiple of this, 0 aside, stay for ever; 0: none."""


def delete_old(folder: Path, keep: Keep, step: int) -> list[str]:
    """Delete what need not stay now that the checkpoint of `step` is whole.

    Checkpoints of later steps, left by a training that went on from an older one, are not touched
    and take no one's place. Nor does one that is visibly broken.

    Returns:
        a line for each that could not be deleted, which stops nothing.
    """
    known = [path for path in checkpoints_in(folder) if step_of(path) <= step]
    whole = [path for path in known if fault_of(path, digests=False) is None]
    staying = {*whole[-keep.last :], pointed_at(folder, "latest"), pointed_at(folder, "best")}
    old = [path for path in known if path not in staying and not _for_ever(path, keep)]
    return [told for told in map(_delete, old) if told]


def _for_ever(path: Path, keep: Keep) -> bool:
    step = step_of(path)
    return keep.every > 0 and step > 0 and step % keep.every == 0


def _delete(path: Path) -> str | None:
    try:
        discard(path)
    except OSError as error:
        return f"{path}: an old checkpoint cannot be deleted: {error}; delete it by hand"
    return None
