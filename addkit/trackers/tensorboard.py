"""TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addkit.errors import PluginError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Scalars by step, and the recipe as a text."""

    def __init__(self) -> None:
        """Raises `PluginError` if the package is missing."""
        # Here, not at the first step: a missing package stops a training before it begins.
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise PluginError(
                'tracker.name = "tensorboard" needs the package tensorboard, which is not '
                'installed. Install it with: pip install "addkit[tensorboard]"'
            ) from error
        self._open = SummaryWriter
        self._run = Path()
        self._recipe: Mapping[str, Any] = {}
        self._writer: SummaryWriter | None = None

    def begin(self, run: str, recipe: Mapping[str, Any]) -> None:
        """Keep the run and its recipe; the first step opens the file."""
        self._run, self._recipe = Path(run), recipe

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar for each value."""
        if self._writer is None:
            # Not before: only the first step shows from which one a resumed run repeats old steps,
            # which TensorBoard then drops.
            self._writer = self._open(str(self._run / "tensorboard"), purge_step=step)
            # As text, since TensorBoard's hyperparameters take no nested tables.
            tables = json.dumps(self._recipe, indent=2)
            self._writer.add_text("recipe", f"```json\n{tables}\n```", step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
