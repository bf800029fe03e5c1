"""What the files of a run know. No torch, and nothing of the data that it was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from addkit.errors import AddkitError, RunError
from addkit.report.figures.accuracy import Accuracies
from addkit.report.figures.lines import Level, Line
from addkit.report.figures.losses import LossPanel
from addkit.report.figures.reliability import Bin, Reliability
from addkit.report.figures.steps import StepCurves
from addkit.report.scores import axis_title, in_unit, score_interval, wilson
from addkit.runs import Run

Way = tuple[Any, ...]

MOST_POINTS = 60
"""Of a curve over steps."""
WAY = ("read_out", "sampler", "to_one", "guidance", "chains")
"""What tells two chains of one run apart, besides their length."""


class NotShownError(AddkitError):
    """A part that cannot be shown. The text names the command that would produce it."""


@dataclass(frozen=True)
class RunFiles:
    """A run and its finished controls."""

    run: Run

    @classmethod
    def open(cls, path: Path) -> RunFiles:
        """Raises `RunError` if there is no run."""
        return cls(Run.open(path))

    @cached_property
    def models(self) -> dict[str, Run]:
        """The run, then its controls, by `Run.model_name`."""
        return self.run.models()

    @cached_property
    def tables(self) -> dict[str, Any]:
        """The resolved recipe."""
        return self.run.recipe_tables()

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, counts, scores."""
        return self.run.manifest()

    @property
    def headline(self) -> str:
        """The task's own score."""
        return str(self.manifest.get("headline", "top1"))

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """The last `addkit evaluate`; None before the first."""
        file = self.run.path / "evaluation.json"
        if not file.exists():
            return None
        try:
            stored: dict[str, Any] = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read: {error}") from error
        return stored

    def evaluated(self, more: str = "") -> dict[str, Any]:
        """The last evaluation, or `NotShownError` with the command for one."""
        if self.evaluation is None:
            raise NotShownError(
                f"the run was not evaluated yet; `addkit evaluate --run {self.run.path}{more}` does"
            )
        return self.evaluation


def accuracies(files: RunFiles) -> Accuracies:
    """Figure 3: the headline after each evaluated epoch, of ADD and of each control."""
    found = {name: accuracy_line(name, run, files.headline) for name, run in files.models.items()}
    lines = [line for line in found.values() if line is not None]
    check_epochs(lines, "addkit train RECIPE")
    return Accuracies(axis_title(files.headline, scored_split(files.run)), lines)


def check_epochs(lines: Sequence[Line], command: str) -> None:
    """Raise `NotShownError` where no line has two points."""
    if not any(len(line.x) > 1 for line in lines):
        raise NotShownError(
            f"fewer than two epochs were scored on the way; `{command} --set "
            "training.evaluate_every=1` scores each"
        )


def scored_split(run: Run) -> str:
    """The split that epochs were scored on."""
    return next((str(entry["split"]) for entry in run.metrics() if "split" in entry), "test")


def accuracy_line(name: str, run: Run, score: str) -> Line | None:
    """A score over the epochs; None where none was scored."""
    scored = [entry for entry in run.metrics() if "split" in entry and score in entry]
    if not scored:
        return None
    points = {float(entry["epoch"]): in_unit(score, entry[score]) for entry in scored}
    return Line(name, *zip(*sorted({**points, **_last(run, score)}.items()), strict=True))


def _last(run: Run, score: str) -> dict[float, float]:
    """The end of the training, which is scored on the test split alone."""
    scores: dict[str, float] = next(iter(run.manifest().get("scores", {}).values()), {})
    epochs = run.recipe_tables().get("training", {}).get("epochs")
    if scored_split(run) != "test" or score not in scores or not epochs:
        return {}
    return {float(epochs): in_unit(score, scores[score])}


def losses(files: RunFiles) -> list[LossPanel]:
    """Figure 4 for one run: the training losses of ADD and its controls."""
    return panels(
        [(loss_kind(run), loss_line(name, run)) for name, run in files.models.items()],
    )


def panels(found: Sequence[tuple[str, Line | None]]) -> list[LossPanel]:
    """Lines by kind of loss; `NotShownError` if there are none."""
    kinds: dict[str, list[Line]] = {}
    for kind, line in found:
        if line is not None:
            kinds.setdefault(kind, []).append(line)
    if not kinds:
        raise NotShownError(
            "metrics.jsonl holds no training step; `addkit train RECIPE` writes them"
        )
    return [LossPanel(kind, lines) for kind, lines in kinds.items()]


def loss_kind(run: Run) -> str:
    """The loss's component."""
    return str(run.recipe_tables().get("loss", {}).get("name", "loss"))


def loss_line(name: str, run: Run) -> Line | None:
    """The training loss, up to 60 means over as many steps each; None before the first step."""
    parts = pieces([entry for entry in run.metrics() if "loss" in entry])
    if not parts:
        return None
    x = tuple(sum(entry["step"] for entry in part) / len(part) for part in parts)
    return Line(name, x, tuple(sum(entry["loss"] for entry in part) / len(part) for part in parts))


def pieces(logged: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    """Lines in order, cut into at most 60 pieces of as many each."""
    size = max(1, -(-len(logged) // MOST_POINTS))
    return [logged[start : start + size] for start in range(0, len(logged), size)]


def step_curves(files: RunFiles) -> StepCurves:
    """Figure 5: the headline over sampling steps, a line for each way to answer."""
    wanted = " --steps 1,2,5,10,20"
    if files.tables.get("task", {}).get("name") == "classification":
        wanted += " --read-out one-pass,last"
    told = files.evaluated(wanted)
    score = files.headline
    loops: dict[Way, list[dict[str, Any]]] = {}
    passes: dict[Way, dict[str, Any]] = {}
    for row in told["results"]:
        way = tuple(row.get(key) for key in WAY)
        if row["sampler"] is None:
            passes.setdefault((way[0], way[3]), row)
        else:
            loops.setdefault(way, []).append(row)
    kept = {way: rows for way, rows in loops.items() if len({r["steps"] for r in rows}) > 1}
    if not kept:
        raise NotShownError(
            "the last evaluation has one chain length; `addkit evaluate --run "
            f"{files.run.path}{wanted}` has several"
        )
    lines = [_step_line(name, kept[way], score) for way, name in way_names(list(kept)).items()]
    levels = [_level(f"{row['read_out']}, one pass", row, score) for row in passes.values()]
    levels += [_level(str(row["model_name"]), row, score) for row in told["controls"]]
    return StepCurves(axis_title(score, told["split"]), lines, levels)


def stored_reliabilities(files: RunFiles) -> list[Reliability]:
    """What `addkit evaluate --uncertainty` stored, temperature scaling aside; may be empty."""
    stored = (files.evaluation or {}).get("uncertainty") or {"rows": []}
    return [
        Reliability(row["confidence"], row["ece"], list(map(_bin, _filled(row["reliability"]))))
        for row in stored["rows"]
        if not row["scaled"]
    ]


def _filled(bins: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that hold answers."""
    return [one for one in bins if one["count"]]


def _bin(stored: dict[str, Any]) -> Bin:
    share, count = stored["accuracy"], stored["count"]
    return Bin(stored["confidence"], share, *wilson(share, count), count)


def way_names(ways: Sequence[Way]) -> dict[Way, str]:
    """Each way by what it does not share with all others; the read-out at least."""
    differ = [len({way[place] for way in ways}) > 1 for place in range(len(WAY))]
    differ[0] = True
    return {
        way: ", ".join(
            _worded(key, value)
            for key, value, named in zip(WAY, way, differ, strict=True)
            if named
        )
        for way in ways
    }  # fmt: skip


def _worded(key: str, value: Any) -> str:
    match key:
        case "guidance":
            return f"w {value:g}"
        case "chains":
            return f"{value} chains"
    return str(value)


def _step_line(name: str, rows: list[dict[str, Any]], score: str) -> Line:
    rows = sorted({row["steps"]: row for row in rows}.values(), key=lambda row: int(row["steps"]))
    bands = [score_interval(score, row[score], row.get("count")) for row in rows]
    reach = [band for band in bands if band is not None]
    whole = len(reach) == len(rows)
    return Line(
        name,
        tuple(float(row["steps"]) for row in rows),
        tuple(in_unit(score, row[score]) for row in rows),
        tuple(low for low, _ in reach) if whole else (),
        tuple(high for _, high in reach) if whole else (),
    )


def _level(name: str, row: dict[str, Any], score: str) -> Level:
    return Level(name, in_unit(score, row[score]))
