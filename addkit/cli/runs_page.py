"""The page of `addkit runs compare --output`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from addkit.cli.run_summary import OTHER_DATA, Comparison
from addkit.evaluation.results import Score
from addkit.recipe.differences import Difference
from addkit.report.figures.curves import Curves, draw_accuracy, draw_losses
from addkit.report.page import write_page
from addkit.report.predictions import FreshPredictions
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
from addkit.report.sections import RunReport, Section, Shown, Table
from addkit.runs import Run


@dataclass(frozen=True)
class SideBySide(RunReport):
    """Several runs as one source of a page."""

    names: tuple[str, ...]
    recipes: tuple[str, ...]

    @property
    def title(self) -> str:
        """The runs by their names."""
        *others, last = self.names
        return f"Runs {', '.join(others)} and {last}"

    @property
    def summary(self) -> str:
        """The recipe, or one for each run, and the reference of the differences."""
        recipes = dict.fromkeys(self.recipes) if len(set(self.recipes)) == 1 else self.recipes
        words = ", ".join(f"`{name}`" for name in recipes)
        plural = "" if len(recipes) == 1 else "s"
        return f"Recipe{plural} {words}. Differences are from the first run, `{self.names[0]}`."


def write_comparison(page: Path, paths: Sequence[Path], comparison: Comparison) -> None:
    """Write scores, recipes, environments and curves of runs side by side. Raises `UsageError` for
    another file ending or a missing folder.

    Args:
        page: .html.
        paths: folders of runs.
        comparison: of these runs.
    """
    names = [path.name for path in paths]
    runs = dict(zip(names, map(Run, paths), strict=True))
    # A page needs one run's files: those of the first, whose headline names the axis.
    files = RunFiles(Run(paths[0]))

    def section(name: str, title: str, show: Callable[[], Shown], figure: bool = False) -> Section:
        return Section(name=name, title=title, of_run=lambda _: show(), figure=figure)

    def keys(name: str, title: str, differing: Sequence[Difference]) -> Section:
        return section(name, title, partial(_show_keys, names, differing, name))

    sections = [
        section("scores", "Scores", partial(_show_scores, names, comparison)),
        section(
            "accuracy",
            "Accuracy while training",
            partial(_show_accuracy, runs, files.headline),
            True,
        ),
        section("losses", "Training losses", partial(_show_losses, runs), True),
        *([keys("data", "Data", comparison.data)] if comparison.data else []),
        keys("recipe", "Recipes", comparison.recipe),
        keys("environment", "Environments", comparison.environment),
    ]
    recipes = tuple(entry.recipe or "?" for entry in comparison.runs)
    source = SideBySide(files, FreshPredictions(files), tuple(names), recipes)
    write_page(page, source, sections)


def _show_scores(names: Sequence[str], comparison: Comparison) -> Shown:
    columns = comparison.columns()
    rows = []
    for row in comparison.scores:
        score = Score.named(row.score)
        # Signs, since a difference without one reads as a score.
        deltas = [score.text(row.differences[index], "+") for index, _ in columns]
        rows.append([score.heading, *map(score.text, row.values), *deltas])
    return Shown(
        "Scores on the test split at the end of training, averaged weights. One training each: "
        "`addkit ablate` separates such a difference from noise.",
        tables=[Table(["score", *names, *(title for _, title in columns)], rows)],
        sentences=[OTHER_DATA] if comparison.data else [],
    )


def _show_keys(names: Sequence[str], differing: Sequence[Difference], what: str) -> Shown:
    if not differing:
        raise NotShownError(f"nothing differs in the {what}s")
    rows = [difference.cells() for difference in differing]
    table = Table(["key", *names], rows, words=1 + len(names))
    return Shown(f"Keys of the {what} in which the runs differ.", tables=[table])


def _show_accuracy(runs: dict[str, Run], headline: Score) -> Shown:
    candidates = [accuracy_line(name, run, headline.name) for name, run in runs.items()]
    lines = [line for line in candidates if line is not None]
    # After the runs without a scored epoch are left out.
    check_epochs(lines, "addkit train RECIPE")
    data = Curves(headline.axis(scored_split(next(iter(runs.values())))), lines)
    caption = "The headline score over the epochs, a line for each run."
    return Shown(caption, "Scores.", partial(draw_accuracy, data))


def _show_losses(runs: dict[str, Run]) -> Shown:
    data = panels([(loss_kind(run), loss_line(name, run)) for name, run in runs.items()])
    return Shown("Training loss, a line for each run.", "Losses.", partial(draw_losses, data))
