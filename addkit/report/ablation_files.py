"""Files of an ablation: its table, and the curves of its arms' runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from addkit.ablation import AblationResult, ArmRow, BaseRow
from addkit.evaluation.results import Score
from addkit.report.figures.curves import Curves, Line, LossPanel
from addkit.report.figures.differences import Difference, Differences
from addkit.report.run_files import (
    NotShownError,
    accuracy_line,
    check_epochs,
    loss_kind,
    loss_line,
    panels,
    scored_split,
)
from addkit.runs import Run

STEPS = "sampling.steps"
MOST_ARMS = 8
"""Lines of one figure; of more arms those that differ most from the base."""


@dataclass(frozen=True)
class AblationFiles:
    """An ablation's folder."""

    path: Path
    result: AblationResult

    @classmethod
    def open(cls, path: Path) -> AblationFiles:
        """Read an ablation's folder; raises `RunError` if result.json is missing or broken."""
        return cls(path, AblationResult.read(path))

    @property
    def score(self) -> Score:
        """The score that the ablation compares."""
        return Score.named(self.result.metric)

    def runs(self, arm: BaseRow) -> list[Run]:
        """The arm's run folders that still exist, one for each seed."""
        above = self.path.parent
        runs = []
        for name in arm.runs:
            # As stored, below or in the ablation's folder, or in the store: folders are moved.
            stored = above / "trained" / Path(name).name
            candidates = (Path(name), above / name, self.path / name, stored)
            folder = next((path for path in candidates if path.exists()), stored)
            if (folder / "recipe.toml").is_file():
                runs.append(Run(folder))
        return runs

    @property
    def trained(self) -> list[ArmRow]:
        """The first of the arms that share a training; none that shares the base's."""
        # Reversed, so that of arms with the same runs the first one stays in the dict.
        first = {tuple(arm.runs): arm for arm in reversed(self.result.arms) if arm.runs}
        first.pop(tuple(self.result.base.runs), None)
        return [arm for arm in self.result.arms if arm in first.values()]

    @cached_property
    def curves(self) -> dict[str, list[Run]]:
        """Names -> runs: the base, and the trained arms that differ most from it. Raises
        `NotShownError` if no run exists any more.
        """
        # Arms of a figure keep the order of the table, also when the largest are chosen.
        largest = sorted(self.trained, key=lambda arm: -abs(arm.difference or 0.0))[:MOST_ARMS]
        arms: list[BaseRow] = [self.result.base]
        arms += [arm for arm in self.trained if arm in largest]
        named = {arm.name: runs for arm in arms if (runs := self.runs(arm))}
        if not named:
            raise NotShownError(
                "no run of the ablation is there any more; its command trains them again"
            )
        return named


def mean_line(name: str, lines: Sequence[Line]) -> Line:
    """The mean over seeds at each x that all have; the band is the range over the seeds."""
    values = [dict(zip(line.x, line.y, strict=True)) for line in lines]
    # A seed that failed halfway would otherwise bend the mean where it ends.
    x = sorted(set.intersection(*(set(each) for each in values)))
    columns = [[each[position] for each in values] for position in x]
    return Line(
        name,
        tuple(x),
        tuple(map(fmean, columns)),
        tuple(map(min, columns)) if len(lines) > 1 else (),
        tuple(map(max, columns)) if len(lines) > 1 else (),
    )


def arm_accuracies(files: AblationFiles) -> Curves:
    """Figure 3 over arms: the score after each evaluated epoch, mean over seeds."""
    lines = []
    for name, runs in files.curves.items():
        # A run that was stopped early may have no scored epoch, and then no line.
        by_seed = [accuracy_line(name, run, files.score.name) for run in runs]
        scored = [line for line in by_seed if line is not None]
        if scored:
            lines.append(mean_line(name, scored))
    check_epochs(lines, files.result.command or "addkit ablate")
    split = scored_split(next(iter(files.curves.values()))[0])
    return Curves(files.score.axis(split), lines)


def arm_losses(files: AblationFiles) -> list[LossPanel]:
    """Training losses over arms, mean over seeds."""
    lines: list[tuple[str, Line | None]] = []
    for name, runs in files.curves.items():
        by_seed = [line for run in runs if (line := loss_line(name, run)) is not None]
        lines.append((loss_kind(runs[0]), mean_line(name, by_seed) if by_seed else None))
    return panels(lines)


def arm_steps(files: AblationFiles) -> Curves:
    """Figure 5 over arms: those that differ in sampling.steps alone make one line."""

    def name_of(changes: Mapping[str, object]) -> str:
        others = [f"{key} = {value}" for key, value in changes.items() if key != STEPS]
        return ", ".join(others) or "base"

    result, score = files.result, files.score
    # Name of the line -> steps -> score of each seed.
    groups: dict[str, dict[float, list[float]]] = {}
    for arm in result.arms:
        if arm.error is None and STEPS in arm.overrides:
            # Arms with equal other changes are points of one line.
            points = groups.setdefault(name_of(arm.overrides), {})
            points[float(arm.overrides[STEPS])] = _scored(arm)
    base_run = next(iter(files.runs(result.base)), None)
    # From the stored recipe: the result has only what differs from the base.
    own_steps = base_run and base_run.recipe_tables().get("sampling", {}).get("steps")
    if isinstance(own_steps, int):  # Not `auto`.
        # Each line also has a point of the arm that keeps the base's own steps.
        unchanged = {
            name_of(arm.overrides): arm for arm in result.arms if STEPS not in arm.overrides
        }
        for name, points in groups.items():
            arm_or_base = result.base if name == "base" else unchanged.get(name)
            if arm_or_base is not None and _scored(arm_or_base):
                points.setdefault(float(own_steps), _scored(arm_or_base))
    lines = []
    for name, points in groups.items():
        if len(points) < 2:
            continue
        x = tuple(sorted(points))
        # As many seeds as all points have; the mean and the band are over these.
        by_seed = [
            Line(name, x, tuple(score.in_unit(points[steps][seed]) for steps in x))
            for seed in range(min(map(len, points.values())))
        ]
        lines.append(mean_line(name, by_seed))
    if not lines:
        raise NotShownError(
            "no arms differ in sampling.steps; add `--steps 1,2,5,10,20` to the command"
        )
    return Curves(score.axis("test"), lines)


def _scored(arm: BaseRow) -> list[float]:
    return [value for value in arm.values if value is not None]


def arm_differences(files: AblationFiles) -> Differences:
    """Each arm minus the base, with 95 % intervals."""

    def in_unit(value: float | None) -> float | None:
        return None if value is None else files.score.in_unit(value)

    rows = [
        Difference(
            arm.name, files.score.in_unit(arm.difference), in_unit(arm.low), in_unit(arm.high)
        )
        for arm in files.result.arms
        if arm.difference is not None
    ]
    if not rows:
        raise NotShownError("no arm is finished; the same command resumes them")
    return Differences(f"{files.score.heading}: arm minus base", rows)
