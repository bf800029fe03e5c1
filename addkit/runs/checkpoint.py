"""Checkpoints: tensors in safetensors, everything else in JSON; written whole, then pointed at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from addkit.errors import RunError
from addkit.runs.atomic import whole_folder, write_text

__all__ = ["Progress", "checkpoint_of", "load_progress", "load_tensors", "save_checkpoint"]

KEPT = 2
"""Checkpoints that stay: the newest, and the one before it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come."""

    step: int = 0
    """Optimizer steps taken."""
    seconds: float = 0.0
    """Time spent training, over all sessions."""


def save_checkpoint(
    folder: Path, progress: Progress, tensors: Mapping[str, Mapping[str, Tensor]]
) -> Path:
    """Write `step-N/NAME.safetensors` for each name, then move `latest`, then delete old ones.

    Args:
        folder: the run's `checkpoints`.
        progress: stored as `progress.json`.
        tensors: file name without ending -> tensors by name.
    """
    path = folder / f"step-{progress.step:08d}"
    with whole_folder(path) as temporary:
        for name, group in tensors.items():
            whole = {key: value.detach().contiguous() for key, value in group.items()}
            save_file(whole, temporary / f"{name}.safetensors")
        (temporary / "progress.json").write_text(json.dumps(asdict(progress)))
    write_text(folder / "latest", path.name + "\n")
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    return path


def clean_temporaries(folder: Path) -> None:
    """Remove what a killed writer left."""
    for left in folder.glob(".*.tmp"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def checkpoint_of(folder: Path) -> Path | None:
    """The checkpoint that `latest` names; None before the first.

    Raises:
        RunError: the pointer leads nowhere.
    """
    pointer = folder / "latest"
    if not pointer.exists():
        return None
    path = folder / pointer.read_text("utf-8", errors="replace").strip()
    if not (path / "progress.json").is_file():
        raise RunError(
            f"{pointer}: names {path.name!r}, which is missing or incomplete; {_remedy(folder)}"
        )
    return path


def _remedy(folder: Path) -> str:
    whole = sorted(file.parent.name for file in folder.glob("step-*/progress.json"))
    if whole:
        return f"write {whole[-1]} into it, a checkpoint that is whole"
    return f"no other is there: train anew with --run-dir {folder.parent} --fresh"


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU.

    Raises:
        RunError: the file is missing, truncated or altered.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from error


def load_progress(checkpoint: Path) -> Progress:
    """How far the training had come at this checkpoint."""
    file = checkpoint / "progress.json"
    try:
        stored: dict[str, Any] = json.loads(file.read_text())
        return Progress(**stored)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from error
