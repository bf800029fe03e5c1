"""Tables of a run's page, from its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from addkit.report.run_files import NotShownError, RunFiles
from addkit.report.scores import score_interval, score_text, score_title
from addkit.report.table3 import CLIP_COLUMNS, TABLE3, clip_cells

SETTINGS = ("read_out", "sampler", "to_one", "steps", "guidance", "chains")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first `words` columns are words, the others numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


def final_scores(files: RunFiles) -> Table:
    """Test scores of each model and of both its weights, with the headline's interval."""
    rows = {
        (name, weights): scores
        for name, run in files.models.items()
        for weights, scores in run.manifest().get("scores", {}).items()
    }
    if not rows:
        raise NotShownError(
            f"the training is not over; `addkit train --resume --run-dir {files.run.path} RECIPE` "
            "goes on with it"
        )
    names = known_scores(list(rows.values()))
    cells = [
        [model, weights, *_cells(scores, names, files.headline)]
        for (model, weights), scores in rows.items()
    ]
    return Table(["model", "weights", *_titles(names, files.headline)], cells, words=2)


def settings(files: RunFiles) -> Table:
    """The last evaluation: each way to answer, then the controls."""
    told = files.evaluated()
    rows = [*told["results"], *told["controls"]]
    names = [
        name for name in known_scores(rows) if name not in ("model_name", "early_exit", *SETTINGS)
    ]
    cells = [
        [
            str(row["model_name"]),
            str(row["read_out"]),
            row["sampler"] or "-",
            row["to_one"] or "-",
            "one pass" if row["sampler"] is None else str(row["steps"]),
            f"{row['guidance']:g}",
            str(row["chains"]),
            *_cells(row, names, files.headline),
        ]
        for row in rows
    ]
    ways = ["model", "read-out", "sampler", "to-one", "steps", "w", "chains"]
    return Table([*ways, *_titles(names, files.headline)], cells, words=4)


def known_scores(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names that at least one row has a value for, in order."""
    return list({key: None for row in rows for key in row if row[key] is not None})


def _titles(names: Sequence[str], headline: str) -> list[str]:
    return [part for name in names for part in [score_title(name), *["95 %"] * (name == headline)]]


def _cells(row: Mapping[str, Any], names: Sequence[str], headline: str) -> list[str]:
    cells = []
    for name in names:
        value = row.get(name)
        cells.append(score_text(name, value))
        if name == headline:
            cells.append(reach(name, value, row.get("count")))
    return cells


def reach(name: str, value: float | None, count: int | None) -> str:
    """`low to high` of a score's interval over images; a dash where there is none."""
    interval = None if value is None else score_interval(name, value, count)
    return "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def audit(files: RunFiles) -> tuple[Table, str]:
    """The loop under five conditions, and what follows."""
    told = files.evaluated().get("audit")
    if told is None:
        raise NotShownError(
            f"the last evaluation has no audit; `addkit evaluate --run {files.run.path}` makes one"
        )
    control = "-" if told["control"] is None else f"{told['control']:.2f}"
    rows = [
        ["t = T alone", f"{told['first_step']:.2f}"],
        [f"after the last of {told['steps']} steps", f"{told['last_step']:.2f}"],
        ["y_t shuffled between images", f"{told['shuffled_state']:.2f}"],
        ["no image", f"{told['no_image']:.2f}"],
        ["control", control],
    ]
    return Table(["the loop", "right, %"], rows), str(told["answer"])


def table3(files: RunFiles) -> Table:
    """Captions: ADD between the truth, copies and other processes."""
    rows = files.evaluated().get("table3")
    if not rows:
        raise NotShownError(
            f"the last evaluation has no table 3; `addkit evaluate --run {files.run.path} "
            "--clip MODEL:WEIGHTS` makes one for captions"
        )
    names = [name for name in TABLE3 if any(row.get(name) is not None for row in rows)]
    cells = [
        [row["row"], *clip_cells(row), *(score_text(name, row.get(name)) for name in names)]
        for row in rows
    ]
    return Table(["captions", *CLIP_COLUMNS, *map(score_title, names)], cells)


def origin(files: RunFiles) -> Table:
    """Where the run comes from: recipe, seed, sizes, time."""
    manifest = files.manifest
    parameters = manifest.get("parameters", {})
    rows = [
        ["recipe", str(files.tables.get("name", "-"))],
        ["seed", str(files.tables.get("seed", 0))],
        ["finished", str(manifest.get("finished", "not yet"))],
        ["optimizer steps", str(manifest.get("plan", {}).get("steps", "-"))],
        ["parameters", f"{parameters['total']:,}" if "total" in parameters else "-"],
        ["training, seconds", f"{manifest['seconds']:.0f}" if "seconds" in manifest else "-"],
    ]
    return Table(["what", "value"], rows, words=2)


def versions(manifest: Mapping[str, Any]) -> Table:
    """Python, packages, components and the machine, as the manifest has them."""
    told = manifest.get("environment", {})
    rows = [
        [name, str(told[name])]
        for name in ("python", "platform", "device", "cores", "threads")
        if name in told
    ]
    for group in ("packages", "components"):
        rows += [[str(name), str(value)] for name, value in told.get(group, {}).items()]
    return Table(["what", "version"], rows, words=2)
