"""Where a training is to write. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """What the command line says of the run folder."""

    folder: Path | None
    """None: a new one below runs/, or the newest unfinished one."""
    resume: bool
    fresh: bool
