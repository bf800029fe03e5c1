"""The page of `addkit runs compare --output`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from addkit.cli.recipes import worded
from addkit.cli.run_summary import OTHER_DATA, subtracted
from addkit.report.figures import accuracy, losses
from addkit.report.figures.accuracy import Accuracies
from addkit.report.page import write_page
from addkit.report.predictions import Fresh
from addkit.report.run_files import (
    NotShownError,
    RunFiles,
    accuracy_line,
    check_epochs,
    loss_kind,
    loss_line,
    panels,
    scored_split,
)
from addkit.report.scores import axis_title, score_text, score_title
from addkit.report.sections import Part, RunReport, Shown
from addkit.report.tables import Table
from addkit.runs import Run


@dataclass(frozen=True)
class SideBySide(RunReport):
    """Several runs as one thing to report."""

    names: tuple[str, ...]
    recipes: tuple[str, ...]

    @property
    def title(self) -> str:
        """The runs by their names."""
        *others, last = self.names
        return f"Runs {', '.join(others)} and {last}"

    @property
    def summary(self) -> str:
        """The recipe, or one for each run, and what differences are from."""
        named = list(dict.fromkeys(self.recipes))
        words = [f"`{name}`" for name in (named if named[1:] == [] else self.recipes)]
        told = f"Recipe{'s' if words[1:] else ''} {', '.join(words)}."
        return f"{told} Differences are from the first run, `{self.names[0]}`."


def write_comparison(page: Path, paths: Sequence[Path], found: dict[str, Any]) -> None:
    """Write scores, recipes, environments and curves of runs side by side.

    Args:
        page: .html.
        paths: folders of runs.
        found: what `addkit.cli.run_summary.compared` says of them.

    Raises:
        UsageError: another file ending, or no such folder.
    """
    names = [path.name for path in paths]
    runs = dict(zip(names, map(Run, paths), strict=True))
    files = RunFiles(Run(paths[0]))
    recipes, machines, data = found["recipe"], found["environment"], found["data"]
    parts = [
        _part("scores", "Scores", lambda: _scores(names, found)),
        _part("accuracy", "Accuracy while training", lambda: _accuracy(runs, files.headline), True),
        _part("losses", "Training losses", lambda: _losses(runs), True),
        *([_part("data", "Data", lambda: _keys(names, data, "data"))] if data else []),
        _part("recipe", "Recipes", lambda: _keys(names, recipes, "recipe")),
        _part("environment", "Environments", lambda: _keys(names, machines, "environment")),
    ]
    named = tuple(str(one["recipe"] or "?") for one in found["runs"])
    write_page(page, SideBySide(files, Fresh(files, ()), tuple(names), named), parts)


def _part(name: str, title: str, show: Callable[[], Shown], figure: bool = False) -> Part:
    return Part(name=name, title=title, of_run=lambda _: show(), figure=figure)


def _scores(names: Sequence[str], found: dict[str, Any]) -> Shown:
    minus = subtracted(names, found)
    cells = [
        [
            score_title(row["score"]),
            *(score_text(row["score"], value) for value in row["values"]),
            *(_signed(row["score"], row["differences"][place]) for place, _ in minus),
        ]
        for row in found["scores"]
    ]
    return Shown(
        "Scores on the test split at the end of training, averaged weights. One training each: "
        "`addkit ablate` tells such a difference from noise.",
        tables=[Table(["score", *names, *(title for _, title in minus)], cells)],
        sentences=[OTHER_DATA] if found["data"] else [],
    )


def _signed(name: str, difference: float | None) -> str:
    if difference is None:
        return "-"
    return ("-" if difference < 0 else "+") + score_text(name, abs(difference))


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
