"""Files of a run, and the data of figures that they suffice for. No torch, and no data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addkit.errors import AddkitError
from addkit.evaluation.results import Evaluation, Score, ScoreRow, wilson
from addkit.report.figures.curves import PURE_NOISE, Curves, Level, Line, LossPanel
from addkit.report.figures.reliability import Bin, Reliability
from addkit.report.figures.style import spread
from addkit.runs import Run
from addkit.runs.folder import Manifest, read_json
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from addkit.plugin.values import InferenceSettings


MOST_POINTS = 60
"""Points of a curve over optimizer steps."""
MOMENTS = 4
"""Moments of a training at which losses by noise level are drawn."""


class NotShownError(AddkitError):
    """A section cannot be shown. The text names the command that would produce its data."""


@dataclass(frozen=True)
class RunFiles:
    """A run and its finished controls."""

    run: Run

    @classmethod
    def open(cls, path: Path) -> RunFiles:
        """The files of a run; raises `RunError` if there is none."""
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
    def manifest(self) -> Manifest:
        """Versions, counts, scores."""
        return self.run.manifest()

    @property
    def headline(self) -> Score:
        """The task's own score."""
        return Score.named(self.manifest.headline or "top1")

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The last `addkit evaluate`; None before the first."""
        file = self.run.path / "evaluation.json"
        if not file.exists():
            return None
        # Typed at once, so that no section reads a key of its own.
        return Evaluation.from_data(read_json(file), self.run.path)

    def evaluated(self, *options: str) -> Evaluation:
        """The last evaluation, or `NotShownError` with the command for one."""
        if self.evaluation is None:
            first = addkit_command("evaluate", "--run", self.run.path, *options)
            raise NotShownError(f"the run was not evaluated yet; `{first}` does")
        return self.evaluation


def accuracies(files: RunFiles) -> Curves:
    """Figure 3: the headline after each scored epoch, of the run and of each control."""
    score = files.headline
    candidates = [accuracy_line(name, run, score.name) for name, run in files.models.items()]
    lines = [line for line in candidates if line is not None]
    check_epochs(lines, "addkit train RECIPE")
    return Curves(score.axis(scored_split(files.run)), lines)


def check_epochs(lines: Sequence[Line], command: str) -> None:
    """Raise `NotShownError` where no line has two points."""
    if not any(len(line.x) > 1 for line in lines):
        raise NotShownError(
            f"fewer than two epochs were scored during training; `{command} --set "
            "training.evaluate_every=1` scores each"
        )


def scored_split(run: Run) -> str:
    """The split that epochs were scored on."""
    return next((str(entry["split"]) for entry in run.metrics() if "split" in entry), "test")


def accuracy_line(name: str, run: Run, score: str) -> Line | None:
    """A score over the epochs; None where none was scored."""
    in_unit = Score.named(score).in_unit
    points = {
        float(entry["epoch"]): in_unit(entry[score])
        for entry in run.metrics()
        if "split" in entry and "epoch" in entry and entry.get(score) is not None
    }
    if not points:
        return None
    epochs = run.epochs
    final = next(iter(run.scores().values()), {}).get(score)
    # The end of a training is scored on the test split alone.
    if scored_split(run) == "test" and final is not None and epochs:
        points[float(epochs)] = in_unit(final)
    return Line(name, *zip(*sorted(points.items()), strict=True))


def losses(files: RunFiles) -> list[LossPanel]:
    """The training losses of the run and of its controls."""
    return panels([(loss_kind(run), loss_line(name, run)) for name, run in files.models.items()])


def panels(lines: Sequence[tuple[str, Line | None]]) -> list[LossPanel]:
    """Panels of (kind of loss, line); `NotShownError` if there is no line."""
    # By kind, since losses of two kinds have no common unit.
    kinds: dict[str, list[Line]] = {}
    for kind, line in lines:
        if line is not None:
            kinds.setdefault(kind, []).append(line)
    if not kinds:
        raise NotShownError("metrics.jsonl has no training step; `addkit train RECIPE` writes them")
    return [LossPanel(kind, members) for kind, members in kinds.items()]


def loss_kind(run: Run) -> str:
    """The name of the loss component."""
    return str(run.recipe_tables().get("loss", {}).get("name", "loss"))


def loss_line(name: str, run: Run) -> Line | None:
    """The training loss, up to 60 means over as many steps each; None before the first step."""
    # Means, since single steps are noise, and 60 points are all that a figure can show.
    parts = _pieces([entry for entry in run.metrics() if "loss" in entry])
    if not parts:
        return None
    points = [(_mean(part, "step"), _mean(part, "loss")) for part in parts]
    return Line(name, *zip(*points, strict=True))


def _pieces(entries: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    """Entries in order, cut into at most 60 pieces of as many each."""
    size = max(1, -(-len(entries) // MOST_POINTS))  # rounded up
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def _mean(entries: Sequence[dict[str, Any]], key: str) -> float:
    return float(sum(entry[key] for entry in entries) / len(entries))


def losses_by_time(run: Run) -> list[Line]:
    """Mean loss by t at moments from the first to the last; bins without a loss are left out.
    Raises `NotShownError` if no entry has `loss_by_time`.
    """
    # Missing for processes without noise levels, such as autoregression.
    entries = [entry for entry in run.metrics() if entry.get("loss_by_time")]
    if not entries:
        raise NotShownError(
            "metrics.jsonl has no losses by noise level; `addkit train RECIPE` writes them, "
            "where labels have noise levels"
        )

    # "LOW-HIGH" -> mean loss of the tokens with t in that bin, as the training logs it.
    def middle(interval: str) -> float:
        """The middle of a bin such as `0.1-0.2`, or `T`."""
        if interval == "T":
            return PURE_NOISE
        try:
            low, high = map(float, interval.split("-"))  # "0.1-0.2" -> 0.1, 0.2
        except ValueError:
            raise NotShownError(f'metrics.jsonl: "{interval}" is no noise level') from None
        return (low + high) / 2

    moments = [entries[index] for index in spread(len(entries), MOMENTS)]
    return _positive_lines(
        {
            f"up to step {entry['step']}": [
                (middle(interval), loss) for interval, loss in entry["loss_by_time"].items()
            ]
            for entry in moments
        }
    )


def step_times(run: Run) -> list[Line]:
    """Milliseconds a step of each part, up to 60 means over as many steps each. Raises
    `NotShownError` if no entry has `parts`.
    """
    pieces = _pieces([entry for entry in run.metrics() if entry.get("parts")])
    # A dict for its order: a part that began late, such as a checkpoint, still has one line.
    names = dict.fromkeys(name for piece in pieces for entry in piece for name in entry["parts"])
    if not names:
        raise NotShownError(
            "metrics.jsonl has no times of parts of a step; `addkit train RECIPE` writes them"
        )
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for piece in pieces:
        for name, curve in curves.items():
            # A part that a step did not have, such as a checkpoint, counts as no time.
            seconds = sum(entry["parts"].get(name, 0.0) for entry in piece)
            curve.append((_mean(piece, "step"), 1000 * seconds / len(piece)))
    return _positive_lines(curves)


def _positive_lines(curves: Mapping[str, Sequence[tuple[float, float]]]) -> list[Line]:
    """Lines of the points that a logarithmic axis can show."""
    above = {name: [point for point in points if point[1] > 0] for name, points in curves.items()}
    return [Line(name, *zip(*points, strict=True)) for name, points in above.items() if points]


def step_curves(files: RunFiles) -> Curves:
    """Figure 5: the headline over sampling steps, a line for each other setting."""
    # The command that would make the missing rows. Only of one label is one pass the exact answer.
    options = ["--steps", "1,2,5,10,20"]
    if files.run.facts().num_tokens == 1:
        options += ["--read-out", "one-pass,last"]
    evaluation = files.evaluated(*options)
    score = files.headline
    chains: dict[InferenceSettings, list[ScoreRow]] = {}
    passes: dict[tuple[str, float], ScoreRow] = {}
    for row in evaluation.results:
        if row.setting.one_pass:
            # One pass has no steps: one level for each guidance, however often it was scored.
            passes.setdefault((row.setting.read_out, row.setting.guidance), row)
        else:
            # Rows that differ in steps alone are points of one line.
            chains.setdefault(dataclasses.replace(row.setting, steps=0), []).append(row)
    chains = {
        setting: rows
        for setting, rows in chains.items()
        if len({row.setting.steps for row in rows}) > 1
    }
    if not chains:
        again = addkit_command("evaluate", "--run", files.run.path, *options)
        raise NotShownError(f"the last evaluation has one chain length; `{again}` has several")
    # After the selection, so that a setting all lines share is in no name.
    names = _names_of(list(chains))
    lines = [_step_line(names[setting], rows, score) for setting, rows in chains.items()]
    levels = [
        Level(name, score.in_unit(value))
        for name, row in (
            *((f"{row.setting.read_out}, one pass", row) for row in passes.values()),
            *((row.model_name, row) for row in evaluation.controls),
        )
        if (value := row.scores.get(score.name)) is not None
    ]
    return Curves(score.axis(evaluation.split), lines, levels)


def _names_of(settings: Sequence[InferenceSettings]) -> dict[InferenceSettings, str]:
    """Each setting by what it does not share with all others; the read-out at least."""
    words = {
        setting: {
            "read_out": setting.read_out,
            "sampler": setting.sampler or "",
            "to_one": setting.to_one or "",
            "guidance": f"w {setting.guidance:g}",
            "chains": f"{setting.chains} chains",
        }
        for setting in settings
    }
    differing = {
        key
        for key in next(iter(words.values()))
        if key == "read_out" or len({each[key] for each in words.values()}) > 1
    }
    return {
        setting: ", ".join(word for key, word in each.items() if key in differing)
        for setting, each in words.items()
    }


def _step_line(name: str, rows: Sequence[ScoreRow], score: Score) -> Line:
    # A setting that was scored twice at the same steps counts once.
    by_steps = {row.setting.steps: row.scores for row in rows}
    points = []
    for steps, scores in sorted(by_steps.items()):
        value, count = scores.get(score.name), scores.get("count")
        if value is not None:
            band = score.interval(value, int(count) if count else None)
            points.append((float(steps), score.in_unit(value), band))
    # A band needs an interval at every point: only shares of images have one.
    bands = [band for *_, band in points if band is not None]
    complete = len(bands) == len(points)
    return Line(
        name,
        tuple(x for x, _, _ in points),
        tuple(y for _, y, _ in points),
        tuple(low for low, _ in bands) if complete else (),
        tuple(high for _, high in bands) if complete else (),
    )


def stored_reliabilities(files: RunFiles) -> list[Reliability]:
    """Reliability of the last `evaluate --uncertainty`, without the scaled ones; may be empty."""
    # Not by its truth: an evaluation without rows has the length 0.
    uncertainty = None if files.evaluation is None else files.evaluation.uncertainty
    return [
        Reliability(
            row.confidence,
            row.ece,
            [
                Bin(each.confidence, each.accuracy, *wilson(each.accuracy, each.count), each.count)
                for each in row.reliability
                if each.count and each.confidence is not None and each.accuracy is not None
            ],
        )
        for row in (uncertainty.rows if uncertainty else ())
        if not row.scaled
    ]
