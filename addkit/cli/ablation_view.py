"""The live view of an ablation: a bar for each training at work, plain lines elsewhere."""

from __future__ import annotations

from time import monotonic

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from addkit.cli.output import animated, note, stderr, warn


class AblationView:
    """Which trainings are at work, how far they are, and how they ended.

    Args:
        trainings: of the whole ablation, those done before included.
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
        """How it ended; the last one takes the bars away."""
        self.progress.remove_task(self.bars.pop(name))
        if not self.bars:
            self.progress.stop()
        seconds = monotonic() - self.began[name]
        if error is None:
            note(f"{name}: done in {seconds:.0f} s")
        else:
            warn(f"{name}: failed: {error}")
