"""How many loader processes a machine has room for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MOST = 8


def fitting_workers(wanted: int | Literal["auto"], processes: int) -> int:
    """Loader processes for each of the training processes on this machine; 0: read in-process.

    A number stays as it is. `auto` shares out the cores that this process may use, by its affinity
    and its container's quota, leaves each training process one for itself, and gives at most 8:
    a GPU seldom computes faster than eight cores decode. Data that lie in memory need none.
    """
    if wanted != "auto":
        return wanted
    return max(0, min(_MOST, _cores() // processes - 1))


def _cores() -> int:
    # macOS and Windows have no affinity to ask for.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, _quota(cores)))


def _quota(cores: int) -> int:
    """Cores by the control group, version 2: `max 100000` or `200000 100000` (two cores)."""
    try:
        most, period = _QUOTA.read_text("ascii").split()
        return cores if most == "max" else int(most) // int(period)
    except (OSError, ValueError):
        return cores
