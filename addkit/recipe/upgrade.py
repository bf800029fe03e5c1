"""Recipes of runs that an older addkit has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def upgraded(tables: Mapping[str, Any]) -> dict[str, Any]:
    """A run's stored tables in today's words. What says nothing of the network is let go.

    Before its first release 0.1 had `training.checkpoint_every`, now `checkpoints.every`, and
    `distributed.processes`, which the command line and the machine decide now.
    """
    new = {name: dict(t) if isinstance(t, Mapping) else t for name, t in tables.items()}
    training, spread = new.get("training", {}), new.get("distributed", {})
    if "checkpoint_every" in training:
        new.setdefault("checkpoints", {})["every"] = training.pop("checkpoint_every")
    spread.pop("processes", None)
    return new
