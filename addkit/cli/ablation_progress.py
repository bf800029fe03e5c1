"""Progress of an ablation: a bar for each running training, plain lines without a terminal."""

from __future__ import annotations

from time import monotonic

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from addkit.cli.output import animated, note, stderr, warn


class AblationBars:
    """The `AblationProgress` of the command line.

    Args:
        trainings: number of trainings in the ablation, those finished before included.
    """

    def __init__(self, trainings: int) -> None:
        self.trainings = trainings
        self.began: dict[str, float] = {}
        self.bars: dict[str, TaskID] = {}
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeElapsedColumn(),
            console=stderr(),
            transient=True,
            disable=not animated(),
        )

    def begin(self, name: str) -> None:
        """A line, and a bar on a terminal."""
        if not self.began:
            note(f"{self.trainings} trainings in all")
        self.progress.start()
        self.began[name] = monotonic()
        self.bars[name] = self.progress.add_task(name, total=None)

    def step(self, name: str, step: int, steps: int) -> None:
        """Move the bar."""
        self.progress.update(self.bars[name], completed=step, total=steps)

    def end(self, name: str, error: str | None) -> None:
        """A line with the outcome; after the last one the bars are removed."""
        self.progress.remove_task(self.bars.pop(name))
        if not self.bars:
            self.progress.stop()
        seconds = monotonic() - self.began[name]
        if error is None:
            note(f"{name}: done in {seconds:.0f} s")
        else:
            warn(f"{name}: failed: {error}")
