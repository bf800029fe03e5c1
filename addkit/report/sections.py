"""Sections of a page: their types, and the run or ablation that they are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from addkit.ablation.results import RESULT
from addkit.errors import UsageError
from addkit.report.ablation_files import AblationFiles
from addkit.report.figures.images import Example
from addkit.report.predictions import MOST_IMAGES, FreshPredictions
from addkit.report.run_files import RunFiles
from addkit.runs.packs import is_pack


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first `words` columns are words, the others numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """The content of one section. Words between backticks are code."""

    caption: str
    """The content, its file and the command that wrote the file."""
    alt: str = ""
    """Description of the figure for readers who do not see it."""
    draw: Callable[[], Figure] | None = None
    tables: Sequence[Table] = ()
    examples: Sequence[tuple[str, Sequence[Example]]] = ()
    """Groups of examples under a heading each. A page shows these instead of the figure."""
    sentences: Sequence[str] = ()


@dataclass(frozen=True)
class RunReport:
    """A run to report: its files, and predictions by its weights."""

    files: RunFiles
    fresh: FreshPredictions

    @classmethod
    def open(cls, path: Path, overrides: Sequence[str] = (), most: int = MOST_IMAGES) -> RunReport:
        """Open a run's folder; raises `RunError` if there is none. `most` images are predicted."""
        files = RunFiles.open(path)
        return cls(files, FreshPredictions(files, overrides, most))

    @property
    def path(self) -> Path:
        """The folder."""
        return self.files.run.path

    @property
    def title(self) -> str:
        """Title of the page."""
        return f"Run {self.path.absolute().name}"

    @property
    def summary(self) -> str:
        """The page's first sentences. Words between backticks are code."""
        tables = self.files.tables
        return f"Recipe `{tables.get('name', '?')}`. {tables.get('summary') or ''}".strip()


Source = RunReport | AblationFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of a page, for runs, for ablations, or for both.

    Both functions raise `NotShownError` where their data is missing.
    """

    name: str
    title: str
    of_run: Callable[[RunReport], Shown] | None = None
    of_ablation: Callable[[AblationFiles], Shown] | None = None
    figure: bool = field(default=True)
    """`addkit plot` can draw it."""

    def content_of(self, source: Source) -> Callable[[], Shown] | None:
        """The function that makes the content; None if such a source has no such section."""
        # Bound to locals, so that the type checker follows them into the lambdas.
        if isinstance(source, RunReport):
            of_run = self.of_run
            return None if of_run is None else lambda: of_run(source)
        of_ablation = self.of_ablation
        return None if of_ablation is None else lambda: of_ablation(source)


def open_source(path: Path, overrides: Sequence[str] = ()) -> Source:
    """The run or the ablation in a folder.

    Raises:
        UsageError: neither.
        RunError: its main file is broken.
    """
    # An ablation's folder has no recipe.toml, and a run's no result.json.
    if (path / RESULT).is_file():
        return AblationFiles.open(path)
    if is_pack(path):
        raise UsageError(f"{path}: a pack has scores alone, in its README.md; report on its run")
    if (path / "recipe.toml").is_file():
        return RunReport.open(path, overrides)
    raise UsageError(
        f"{path}: neither a run (no recipe.toml) nor an ablation (no {RESULT}); give a folder that "
        "`addkit train` or `addkit ablate` wrote"
    )
