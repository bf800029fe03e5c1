"""What an ablation's files know: its table, and the curves of its arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from addkit.ablation import AblationResult, ArmRow, BaseRow
from addkit.metrics.names import SHARES
from addkit.report.figures.accuracy import Accuracies
from addkit.report.figures.differences import Difference, Differences
from addkit.report.figures.lines import Line
from addkit.report.figures.losses import LossPanel
from addkit.report.figures.steps import StepCurves
from addkit.report.run_files import (
    NotShownError,
    accuracy_line,
    check_epochs,
    loss_kind,
    loss_line,
    panels,
    scored_split,
)
from addkit.report.scores import axis_title, in_unit, score_title
from addkit.runs import Run

RESULT = "result.json"
STEPS = "sampling.steps"
MOST_ARMS = 8
"""Lines of one figure; of more arms those that differ most from the base."""


@dataclass(frozen=True)
class AblationFiles:
    """An ablation's folder."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> AblationFiles:
        """Raises `RunError` if result.json is missing or broken."""
        files = cls(path)
        files.result  # noqa: B018
        return files

    @cached_property
    def result(self) -> AblationResult:
        """result.json."""
        return AblationResult.read(self.path)

    def runs(self, arm: BaseRow) -> list[Run]:
        """The arm's run folders that are there, one for each seed."""
        found = [self._folder(name) for name in arm.runs]
        return [Run(folder) for folder in found if (folder / "recipe.toml").is_file()]

    def _folder(self, name: str) -> Path:
        """As named from here, beside the folder, within it, or where the store keeps trainings."""
        above = self.path.parent
        kept = above / "trained" / Path(name).name
        places = (Path(name), above / name, self.path / name, kept)
        return next((place for place in places if place.exists()), kept)

    @property
    def trained(self) -> list[ArmRow]:
        """Of arms that share a training the first; none that shares the base's."""
        first = {tuple(arm.runs): arm for arm in reversed(self.result.arms) if arm.runs}
        first.pop(tuple(self.result.base.runs), None)
        return [arm for arm in self.result.arms if arm in first.values()]

    @cached_property
    def curves(self) -> dict[str, list[Run]]:
        """Names -> runs: the base, and the trained arms that differ most from it.

        Raises:
            NotShownError: no run is there any more.
        """
        most = sorted(self.trained, key=lambda arm: -abs(arm.difference or 0.0))[:MOST_ARMS]
        arms: list[BaseRow] = [self.result.base]
        arms += [arm for arm in self.trained if arm in most]
        named = {arm.name: runs for arm in arms if (runs := self.runs(arm))}
        if not named:
            raise NotShownError(
                "no run of the ablation is there any more; its command trains them again"
            )
        return named

    @property
    def unit(self) -> float:
        """From stored differences to the unit that the score's title names."""
        return 100.0 if self.result.metric in SHARES else 1.0


def mean_line(name: str, lines: Sequence[Line]) -> Line:
    """The mean over seeds at each x that all have; the band is the range over the seeds."""
    values = [dict(zip(line.x, line.y, strict=True)) for line in lines]
    x = sorted(set.intersection(*(set(one) for one in values)))
    columns = [[one[place] for one in values] for place in x]
    return Line(
        name,
        tuple(x),
        tuple(map(fmean, columns)),
        tuple(map(min, columns)) if len(lines) > 1 else (),
        tuple(map(max, columns)) if len(lines) > 1 else (),
    )


def arm_accuracies(files: AblationFiles) -> Accuracies:
    """Figure 3 over arms: the score after each evaluated epoch, mean over seeds."""
    score, lines = files.result.metric, []
    for name, runs in files.curves.items():
        found = [line for run in runs if (line := accuracy_line(name, run, score)) is not None]
        if found:
            lines.append(mean_line(name, found))
    check_epochs(lines, files.result.command or "addkit ablate")
    split = scored_split(next(iter(files.curves.values()))[0])
    return Accuracies(axis_title(score, split), lines)


def arm_losses(files: AblationFiles) -> list[LossPanel]:
    """Figure 4 over arms: training losses, mean over seeds."""
    found: list[tuple[str, Line | None]] = []
    for name, runs in files.curves.items():
        lines = [line for run in runs if (line := loss_line(name, run)) is not None]
        found.append((loss_kind(runs[0]), mean_line(name, lines) if lines else None))
    return panels(found)


def arm_steps(files: AblationFiles) -> StepCurves:
    """Figure 5 over arms: those that differ in sampling.steps alone make one line."""
    score = files.result.metric
    groups: dict[str, dict[float, list[float]]] = {}
    for arm in files.result.arms:
        if arm.error is None and STEPS in arm.changes:
            others = {key: value for key, value in arm.changes.items() if key != STEPS}
            steps = float(arm.changes[STEPS])
            groups.setdefault(_others(others), {})[steps] = _known(arm.values)
    _with_starts(files, groups)
    lines = [_step_line(name, points, score) for name, points in groups.items() if len(points) > 1]
    if not lines:
        raise NotShownError(
            "no arms differ in sampling.steps; add `--steps 1 2 5 10 20` to the command"
        )
    return StepCurves(axis_title(score, "test"), lines)


def _others(changes: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in changes.items()) or "base"


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _with_starts(files: AblationFiles, groups: dict[str, dict[float, list[float]]]) -> None:
    """Add to each line the arm that keeps the base's own steps."""
    own = _own_steps(files)
    if own is None:
        return
    starts = {_others(arm.changes): arm.values for arm in files.result.arms}
    for name, points in groups.items():
        values = _known(starts.get(name, files.result.base.values if name == "base" else []))
        if values:
            points.setdefault(own, values)


def _own_steps(files: AblationFiles) -> float | None:
    """The base recipe's steps, where they are a number and its run is there."""
    for run in files.runs(files.result.base):
        steps = run.recipe_tables().get("sampling", {}).get("steps")
        return float(steps) if isinstance(steps, int) else None
    return None


def _step_line(name: str, points: dict[float, list[float]], score: str) -> Line:
    seeds = min(map(len, points.values()))
    by_seed = [
        Line(
            name,
            tuple(sorted(points)),
            tuple(in_unit(score, points[x][seed]) for x in sorted(points)),
        )
        for seed in range(seeds)
    ]  # fmt: skip
    return mean_line(name, by_seed)


def arm_differences(files: AblationFiles) -> Differences:
    """Each arm minus the base, with 95 % intervals."""
    unit = files.unit
    rows = [
        Difference(arm.name, unit * arm.difference, _times(unit, arm.low), _times(unit, arm.high))
        for arm in files.result.arms
        if arm.difference is not None
    ]
    if not rows:
        raise NotShownError("no arm is finished; the command that began them goes on")
    return Differences(f"{score_title(files.result.metric)}: arm minus base", rows)


def _times(unit: float, value: float | None) -> float | None:
    return None if value is None else unit * value
