"""The parts of a page: what each shows, and what its caption says. The list of figures is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from addkit.errors import UsageError, guess
from addkit.report.ablation_files import RESULT, AblationFiles
from addkit.report.figures.samples import Example
from addkit.report.predictions import Fresh
from addkit.report.run_files import NotShownError, RunFiles
from addkit.report.tables import Table


@dataclass(frozen=True, slots=True)
class Shown:
    """One part, ready to be laid out. Words between backticks are code."""

    caption: str
    """What it shows, from which file, by which command."""
    alt: str = ""
    """Of the figure: what a person hears who does not see it."""
    draw: Callable[[], Figure] | None = None
    tables: Sequence[Table] = ()
    examples: Sequence[tuple[str, Sequence[Example]]] = ()
    """Groups of examples under a heading each. A page shows these instead of the figure."""
    sentences: Sequence[str] = ()


@dataclass(frozen=True)
class RunReport:
    """A run: its files, and what is known by loading it."""

    files: RunFiles
    fresh: Fresh

    @classmethod
    def open(cls, path: Path, overrides: Sequence[str] = ()) -> RunReport:
        """Raises `RunError` if there is no run."""
        files = RunFiles.open(path)
        return cls(files, Fresh(files, overrides))

    @property
    def path(self) -> Path:
        """The folder."""
        return self.files.run.path

    @property
    def title(self) -> str:
        """Of the page."""
        return f"Run {self.path.absolute().name}"

    @property
    def summary(self) -> str:
        """The page's first sentences. Words between backticks are code."""
        tables = self.files.tables
        return f"Recipe `{tables.get('name', '?')}`. {tables.get('summary') or ''}".strip()


Source = RunReport | AblationFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a page, for runs, for ablations, or for both.

    Both functions raise `NotShownError` where what they need is not there.
    """

    name: str
    title: str
    of_run: Callable[[RunReport], Shown] | None = None
    of_ablation: Callable[[AblationFiles], Shown] | None = None
    figure: bool = field(default=True)
    """`addkit plot` can draw it."""

    def concerns(self, source: Source) -> bool:
        """True if such a folder has this part at all."""
        wanted = self.of_run if isinstance(source, RunReport) else self.of_ablation
        return wanted is not None

    def show(self, source: Source) -> Shown:
        """The part of this folder."""
        if isinstance(source, RunReport):
            assert self.of_run is not None
            return self.of_run(source)
        assert self.of_ablation is not None
        return self.of_ablation(source)


def open_source(path: Path, overrides: Sequence[str] = ()) -> Source:
    """The run or the ablation in a folder.

    Raises:
        UsageError: neither.
        RunError: its main file is broken.
    """
    if (path / RESULT).is_file():
        return AblationFiles.open(path)
    if (path / "recipe.toml").is_file():
        return RunReport.open(path, overrides)
    raise UsageError(
        f"{path}: neither a run (no recipe.toml) nor an ablation (no {RESULT}); give a folder that "
        "`addkit train` or `addkit ablate` wrote"
    )


@dataclass(frozen=True, slots=True)
class ShownFigure:
    """A figure to be drawn, and its caption."""

    draw: Callable[[], Figure]
    caption: str


def figure_named(parts: Sequence[Part], name: str) -> Part:
    """The part whose figure has this name; raises `UsageError` if none has."""
    known = {part.name: part for part in parts if part.figure}
    if name not in known:
        raise UsageError(f'no figure "{name}"{guess(name, known)}; there are: {", ".join(known)}')
    return known[name]


def figure_of(parts: Sequence[Part], name: str, source: Source) -> ShownFigure:
    """The figure of this name.

    Raises:
        UsageError: no such figure, or none of such a folder.
        NotShownError: what it needs is not there; says what to do.
    """
    part = figure_named(parts, name)
    if not part.concerns(source):
        kind, other = "a run", "an ablation"
        if not isinstance(source, RunReport):
            kind, other = other, kind
        has = ", ".join(one.name for one in parts if one.figure and one.concerns(source))
        raise UsageError(f'figure "{name}" is of {other}, and this is {kind}, with: {has}')
    try:
        shown = part.show(source)
    except NotShownError as error:
        raise NotShownError(f'figure "{name}": {error}') from error
    assert shown.draw is not None
    return ShownFigure(shown.draw, shown.caption)
