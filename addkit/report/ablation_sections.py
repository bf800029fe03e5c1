"""The parts of an ablation's page."""

from __future__ import annotations

from functools import partial

from addkit.ablation import ArmRow
from addkit.report import tables
from addkit.report.ablation_files import (
    MOST_ARMS,
    RESULT,
    AblationFiles,
    arm_accuracies,
    arm_differences,
    arm_losses,
    arm_steps,
)
from addkit.report.figures import accuracy, differences, losses, steps
from addkit.report.run_sections import ends, whiskers
from addkit.report.scores import in_unit, score_title
from addkit.report.sections import Shown

FEWEST_SEEDS = 3
"""Of a claim."""


def show_arm_table(files: AblationFiles) -> Shown:
    """Every arm with its difference to the base."""
    result = files.result
    seeds = len(result.seeds)
    few = (
        [f"Fewer than {FEWEST_SEEDS} seeds: no claim can rest on this table."]
        if seeds < FEWEST_SEEDS
        else []
    )
    failed = [f"{arm.name} failed: {arm.error}" for arm in result.arms if arm.error]
    return Shown(
        f"{score_title(result.metric)} over {_seeds(files)}, and each arm's difference to the base "
        "with the same seeds and data order, with its 95 % interval. "
        f"From `{files.path / RESULT}`, written by `addkit ablate`.",
        tables=[_table(files)],
        sentences=[*few, *result.notes, *failed],
    )


def _seeds(files: AblationFiles) -> str:
    seeds = files.result.seeds
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _table(files: AblationFiles) -> tables.Table:
    result = files.result
    metric = score_title(result.metric)
    base = [result.base.name, _number(files, result.base.mean), _number(files, result.base.sd)]
    rows = [[*base, "-", "-", "-"], *(_row(files, arm) for arm in result.arms)]
    return tables.Table(["arm", f"{metric}, mean", "sd", "difference", "95 %", "verdict"], rows)


def _row(files: AblationFiles, arm: ArmRow) -> list[str]:
    interval = "-"
    if arm.low is not None and arm.high is not None:
        interval = f"{files.unit * arm.low:+.2f} to {files.unit * arm.high:+.2f}"
    difference = "-" if arm.difference is None else f"{files.unit * arm.difference:+.2f}"
    verdict = "failed" if arm.error else arm.verdict
    numbers = [_number(files, arm.mean), _number(files, arm.sd)]
    return [arm.name, *numbers, difference, interval, verdict]


def _number(files: AblationFiles, value: float | None) -> str:
    return "-" if value is None else f"{in_unit(files.result.metric, value):.2f}"


def show_arm_whiskers(files: AblationFiles) -> Shown:
    """Differences to the base."""
    data = arm_differences(files)
    return Shown(
        f"Each arm minus the base in {score_title(files.result.metric)}, with 95 % intervals over "
        f"{_seeds(files)}. Filled: the interval leaves out zero. From `{files.path / RESULT}`, "
        "written by `addkit ablate`.",
        whiskers(data),
        partial(differences.draw, data),
    )


def show_arm_accuracy(files: AblationFiles) -> Shown:
    """Figure 3 over arms."""
    data = arm_accuracies(files)
    return Shown(
        f"{data.score} while training (the paper's figure 3). {_bands(files)}",
        f"Lines over epochs. {ends(data.lines)}",
        partial(accuracy.draw, data),
    )


def show_arm_losses(files: AblationFiles) -> Shown:
    """Figure 4 over arms."""
    data = arm_losses(files)
    return Shown(
        "Training losses (the paper's figure 4), each point a mean over several steps. A panel for "
        f"each kind of loss, since they have no common unit. {_bands(files)}",
        f"Lines over optimizer steps. {ends([line for panel in data for line in panel.lines])}",
        partial(losses.draw, data),
    )


def show_arm_steps(files: AblationFiles) -> Shown:
    """Figure 5 over arms."""
    data = arm_steps(files)
    return Shown(
        f"{data.score} over sampling steps (the paper's figure 5): arms that differ in "
        f"`sampling.steps` alone make one line. Mean over {_seeds(files)}; bands are the range "
        f"over seeds. From `{files.path / RESULT}`, written by `addkit ablate`.",
        f"Lines over sampling steps. {ends(data.lines)}",
        partial(steps.draw, data),
    )


def _bands(files: AblationFiles) -> str:
    count = len(files.trained)
    more = f" The {MOST_ARMS} that differ most of {count} arms." if count > MOST_ARMS else ""
    return (
        f"Mean over {_seeds(files)}; bands are the range over seeds. Arms of the same training "
        f"share a line.{more} From metrics.jsonl of the runs that `{files.path / RESULT}` names, "
        "written by `addkit ablate`."
    )


def show_repeat(files: AblationFiles) -> Shown:
    """How to repeat it."""
    result = files.result
    runs = files.runs(result.base)
    rows = [
        ["recipe", result.recipe],
        ["seeds", ", ".join(map(str, result.seeds))],
        ["arms", str(len(result.arms))],
        ["trainings", str(result.train_runs)],
        ["seconds", f"{result.seconds:.0f}"],
    ]
    told = [tables.Table(["what", "value"], rows, words=2)]
    if runs:
        told.append(tables.versions(runs[0].manifest()))
    repeat = f"To repeat it: `{result.command}`. " if result.command else ""
    return Shown(f"{repeat}Versions are those of the base's first run.", tables=told)
