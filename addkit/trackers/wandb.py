"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from addkit.trackers.packages import package, run_title, stored_id

ID_FILE = "wandb-id"
"""File in the run's folder with the id of its tracked run."""


class Wandb:
    """A Weights & Biases run for each network; a resumed training continues the same one.

    `WANDB_MODE=offline` writes files to be sent by `wandb sync`. Raises `PluginError` if the
    package is missing.

    Args:
        project: of the tracked runs.
        title: their name; None takes the run folder's.
        folder: where wandb keeps its files; None: the run's folder.
        tags: of the tracked runs.
    """

    def __init__(
        self, project: str, title: str | None, folder: Path | None, tags: Sequence[str]
    ) -> None:
        self._wandb = package("wandb", "wandb", "wandb")
        self._project, self._title, self._folder, self._tags = project, title, folder, tags
        self._run: Any = None

    def begin(self, run: str, recipe: Mapping[str, Any]) -> None:
        """Open the tracked run, or continue it."""
        folder = Path(run)
        self._run = self._wandb.init(
            project=self._project,
            name=run_title(folder, self._title),
            dir=str(self._folder or folder),
            tags=list(self._tags),
            config=dict(recipe),
            id=stored_id(folder / ID_FILE),
            resume="allow",
            # stdout is data, and belongs to addkit.
            settings=self._wandb.Settings(console="off", quiet=True),
        )
        # Their own count of steps refuses those that a resumed training repeats.
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All values of a step."""
        self._run.log({**values, "step": step})

    def close(self) -> None:
        """Send or write what is left."""
        if self._run is not None:
            self._run.finish()
