"""The page of `addkit runs compare --output`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from addkit.cli.recipes import worded
from addkit.report.figures import accuracy, losses
from addkit.report.figures.accuracy import Accuracies
from addkit.report.fresh import Fresh
from addkit.report.gather import (
    NotShownError,
    RunFiles,
    accuracy_line,
    check_epochs,
    loss_kind,
    loss_line,
    panels,
    scored_split,
)
from addkit.report.page import write_page
from addkit.report.parts import Part, RunReport, Shown
from addkit.report.scores import axis_title, score_text, score_title
from addkit.report.tables import Table
from addkit.runs import Run

__all__ = ["write_comparison"]


class Together(RunFiles):
    """The first run's files, where the recipe is not of importance."""

    @cached_property
    def tables(self) -> dict[str, Any]:
        """What the page says of the recipe."""
        return {"name": "several", "summary": "Differences are from the first run."}


@dataclass(frozen=True)
class SideBySide(RunReport):
    """Several runs as one thing to report."""

    names: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """No folder: what the page is called."""
        return Path(" beside ".join(self.names))


def write_comparison(page: Path, paths: Sequence[Path], found: dict[str, Any]) -> None:
    """Write scores, recipes, environments and curves of runs side by side.

    Args:
        page: .html.
        paths: folders of runs.
        found: what `addkit.cli.run_facts.compared` says of them.

    Raises:
        UsageError: another file ending, or no such folder.
    """
    names = [path.name for path in paths]
    runs = dict(zip(names, map(Run, paths), strict=True))
    files = Together(Run(paths[0]))
    recipes, machines = found["recipe"], found["environment"]
    parts = [
        _part("scores", "Scores", lambda: _scores(names, found["scores"])),
        _part("accuracy", "Accuracy while training", lambda: _accuracy(runs, files.headline), True),
        _part("losses", "Training losses", lambda: _losses(runs), True),
        _part("recipe", "Recipes", lambda: _keys(names, recipes, "recipe")),
        _part("environment", "Environments", lambda: _keys(names, machines, "environment")),
    ]
    write_page(page, SideBySide(files, Fresh(files, ()), tuple(names)), parts)


def _part(name: str, title: str, show: Callable[[], Shown], figure: bool = False) -> Part:
    return Part(name=name, title=title, of_run=lambda _: show(), figure=figure)


def _scores(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> Shown:
    minus = [f"{name} minus {names[0]}" for name in names[1:]]
    cells = [
        [
            score_title(row["score"]),
            *(score_text(row["score"], value) for value in row["values"]),
            *("-" if d is None else f"{d:+.4g}" for d in row["differences"][1:]),
        ]
        for row in rows
    ]
    return Shown(
        "Scores on the test split at the end of training, averaged weights. One training each: "
        "`addkit ablate` tells such a difference from noise.",
        tables=[Table(["score", *names, *minus], cells)],
    )


def _keys(names: Sequence[str], rows: Sequence[dict[str, Any]], what: str) -> Shown:
    if not rows:
        raise NotShownError(f"nothing differs in the {what}s")
    cells = [[row["key"], *map(worded, row["values"])] for row in rows]
    table = Table(["key", *names], cells, words=1 + len(names))
    return Shown(f"Keys of the {what} in which the runs differ.", tables=[table])


def _accuracy(runs: dict[str, Run], headline: str) -> Shown:
    found = [accuracy_line(name, run, headline) for name, run in runs.items()]
    lines = [line for line in found if line is not None]
    check_epochs(lines, "addkit train RECIPE")
    split = scored_split(next(iter(runs.values())))
    draw = partial(accuracy.draw, Accuracies(axis_title(headline, split), lines))
    return Shown("The headline score over the epochs, a line for each run.", "Scores.", draw)


def _losses(runs: dict[str, Run]) -> Shown:
    data = panels([(loss_kind(run), loss_line(name, run)) for name, run in runs.items()])
    return Shown("Training loss, a line for each run.", "Losses.", partial(losses.draw, data))
