"""What a tracker must do: show a training elsewhere, beside the run's own metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Tracker(Protocol):
    """Follows one training. It lives on the first process alone.

    What it raises once training has begun is told and stops nothing, so what is missing (a
    package, a key) is for `Spec.build` to refuse.

    A worked example::

        from pathlib import Path

        class Notes:
            def begin(self, run, recipe):
                self.file = Path(run, "notes.txt").open("a", encoding="utf-8")

            def log(self, step, values):
                told = [f"{name}={value:.4g}" for name, value in values.items()]
                print(step, *told, file=self.file)

            def close(self):
                self.file.close()
    """

    def begin(self, run: str, recipe: Mapping[str, Any]) -> None:
        """A training starts or goes on in the folder `run`, with these tables of its recipe."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name after this optimizer step.

        Steps rise. After a resume they go on behind its checkpoint, so that some come again.
        """
        ...

    def close(self) -> None:
        """The training is over, however it ended."""
        ...
