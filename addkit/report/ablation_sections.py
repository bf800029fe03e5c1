"""Sections of an ablation's page: captions, tables and figures of its data."""

from __future__ import annotations

from functools import partial

from addkit.ablation import ArmRow
from addkit.ablation.results import RESULT
from addkit.metrics.statistics import FEWEST_SEEDS
from addkit.recipe.toml import toml_value
from addkit.report import tables
from addkit.report.ablation_files import (
    MOST_ARMS,
    AblationFiles,
    arm_accuracies,
    arm_differences,
    arm_losses,
    arm_steps,
)
from addkit.report.figure_data import arm_chains
from addkit.report.figures.curves import draw_accuracy, draw_losses, draw_steps
from addkit.report.figures.differences import draw_differences
from addkit.report.figures.images import draw_chains
from addkit.report.run_sections import ends, sharpening, whiskers
from addkit.report.sections import Shown, Table


def show_table(files: AblationFiles) -> Shown:
    """Every arm with its difference to the base."""
    result = files.result
    seeds = len(result.seeds)
    # Below this number even a large difference is no evidence, which the reader must see first.
    few = (
        [f"Fewer than {FEWEST_SEEDS} seeds: no claim can rest on this table."]
        if seeds < FEWEST_SEEDS
        else []
    )
    failed = [f"{arm.name} failed: {arm.error}" for arm in result.arms if arm.error]
    score = files.score
    rows = []
    for row in (result.base, *result.arms):
        # The base has no difference to itself.
        difference, interval, verdict = "-", "-", "-"
        if isinstance(row, ArmRow):
            difference = score.text(row.difference, "+")
            verdict = "failed" if row.error else row.verdict
            if row.low is not None:
                interval = f"{score.text(row.low, '+')} to {score.text(row.high, '+')}"
        means = [score.text(row.mean), score.text(row.sd)]
        rows.append([row.name, *means, difference, interval, verdict])
    columns = ["arm", f"{score.heading}, mean", "sd", "difference", "95 %", "verdict"]
    # Resolved: a change of a component may change other keys, and the reader must see each.
    changes = [
        [row.name, key, "-" if value is None else toml_value(value)]
        for row in result.arms
        for key, value in row.changes.items()
    ]
    return Shown(
        f"{score.heading} over {_seeds(files)}, and each arm's difference to the base "
        "(or to the row that its note names) with the same seeds and data order, with its 95 % "
        "interval. "
        f"From `{files.path / RESULT}`, written by `addkit ablate`.",
        tables=[Table(columns, rows), Table(["arm", "differs in", "value"], changes)],
        sentences=[*few, *result.notes, *failed],
    )


def _seeds(files: AblationFiles) -> str:
    seeds = files.result.seeds
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def show_differences(files: AblationFiles) -> Shown:
    """Differences of the arms to the base."""
    data = arm_differences(files)
    return Shown(
        f"Each arm minus the base in {files.score.heading}, with 95 % intervals over "
        f"{_seeds(files)}. Filled: the interval leaves out zero. From `{files.path / RESULT}`, "
        "written by `addkit ablate`.",
        whiskers(data),
        partial(draw_differences, data),
    )


def show_accuracy(files: AblationFiles) -> Shown:
    """Figure 3 over arms."""
    data = arm_accuracies(files)
    return Shown(
        f"{data.score} while training (the paper's figure 3). {_bands(files)}",
        f"Lines over epochs. {ends(data.lines)}",
        partial(draw_accuracy, data),
    )


def show_losses(files: AblationFiles) -> Shown:
    """Training losses over arms."""
    data = arm_losses(files)
    return Shown(
        "Training losses, each point a mean over several steps. A panel for "
        f"each kind of loss, since they have no common unit. {_bands(files)}",
        f"Lines over optimizer steps. {ends([line for panel in data for line in panel.lines])}",
        partial(draw_losses, data),
    )


def show_steps(files: AblationFiles) -> Shown:
    """Figure 5 over arms."""
    data = arm_steps(files)
    return Shown(
        f"{data.score} over sampling steps (the paper's figure 5): arms that differ in "
        f"`sampling.steps` alone make one line. Mean over {_seeds(files)}; bands are the range "
        f"over seeds. From `{files.path / RESULT}`, written by `addkit ablate`.",
        f"Lines over sampling steps. {ends(data.lines)}",
        partial(draw_steps, data),
    )


def show_chains(files: AblationFiles) -> Shown:
    """Figure 4: the iterative process under each loss."""
    data = arm_chains(files)
    steps = data[0].p.shape[1]
    return Shown(
        "The iterative process under each loss (the paper's figure 4): the network's "
        f"p(label | y_t, image) at each of {steps} steps of one chain, for the same test images "
        f"and noise. By the weights of the first seed's runs that `{files.path / RESULT}` names.",
        sharpening(data),
        partial(draw_chains, data),
    )


def _bands(files: AblationFiles) -> str:
    # Arms that differ in inference settings alone have the base's curve.
    count = len(files.trained)
    more = f" The {MOST_ARMS} that differ most of {count} arms." if count > MOST_ARMS else ""
    return (
        f"Mean over {_seeds(files)}; bands are the range over seeds. Arms of the same training "
        f"share a line.{more} From metrics.jsonl of the runs that `{files.path / RESULT}` names, "
        "written by `addkit ablate`."
    )


def show_origin(files: AblationFiles) -> Shown:
    """Command and versions, to repeat the ablation."""
    result = files.result
    runs = files.runs(result.base)
    rows = [
        ["recipe", result.recipe],
        ["seeds", ", ".join(map(str, result.seeds))],
        ["arms", str(len(result.arms))],
        ["trainings", str(result.train_runs)],
        ["seconds", f"{result.seconds:.0f}"],
    ]
    shown = [Table(["what", "value"], rows, words=2)]
    if runs:
        shown.append(tables.versions(runs[0]))
    repeat = f"To repeat it: `{result.command}`. " if result.command else ""
    return Shown(f"{repeat}Versions are those of the base's first run.", tables=shown)
