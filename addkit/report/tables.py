"""Tables of a run's page, from its files."""

from __future__ import annotations

from collections.abc import Sequence

from addkit.evaluation.results import (
    CLIP_HEADINGS,
    SETTING_HEADINGS,
    TABLE3,
    Score,
    Scores,
    present,
)
from addkit.report.run_files import NotShownError, RunFiles
from addkit.report.sections import Table
from addkit.runs import Run
from addkit.terminal import addkit_command


def final_scores(files: RunFiles) -> Table:
    """Test scores of each model and of both its weights, with the headline's interval."""
    rows = {
        (name, weights): scores
        for name, run in files.models.items()
        for weights, scores in run.scores().items()
    }
    if not rows:
        if files.run.finished:
            raise NotShownError("the data has no test split, so that nothing was measured")
        again = addkit_command("train", files.run.path, "--resume")
        raise NotShownError(f"the training is not over; `{again}` resumes it")
    # Columns of any model: a control may lack scores that only a chain has, and the reverse.
    columns = present(rows.values())
    cells = [
        [model, weights, *_cells(scores, columns, files.headline)]
        for (model, weights), scores in rows.items()
    ]
    return Table(["model", "weights", *_headings(columns, files.headline)], cells, words=2)


def settings(files: RunFiles) -> Table:
    """The last evaluation: each setting, then the controls."""
    rows = files.evaluated().rows
    # Of any row: the controls have no scores of a chain.
    columns = present(row.scores for row in rows)
    cells = [
        [row.model_name, *row.setting_cells(), *_cells(row.scores, columns, files.headline)]
        for row in rows
    ]
    names = ["model", *SETTING_HEADINGS]
    return Table([*names, *_headings(columns, files.headline)], cells, words=4)


def _headings(columns: Sequence[Score], headline: Score) -> list[str]:
    return [
        heading
        for score in columns
        for heading in (score.heading, *(["95 %"] if score == headline else []))
    ]


def _cells(scores: Scores, columns: Sequence[Score], headline: Score) -> list[str]:
    cells = []
    count = scores.get("count")
    for score in columns:
        value = scores.get(score.name)
        cells.append(score.text(value))
        if score == headline:
            # Only shares of images have one; of a mean the scores keep no spread.
            interval = score.interval(value, int(count) if count else None)
            cells.append("-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}")
    return cells


def audit(files: RunFiles) -> tuple[Table, str]:
    """Accuracy of the loop under five conditions, and the conclusion."""
    audit = files.evaluated().audit
    if audit is None:
        again = addkit_command("evaluate", "--run", files.run.path)
        raise NotShownError(f"the last evaluation has no audit; `{again}` makes one")
    return Table(["the loop", "right, %"], audit.rows()), audit.answer


def table3(files: RunFiles) -> Table:
    """Captions: the run's between the truth, copies and other processes."""
    rows = files.evaluated().table3
    if not rows:
        again = addkit_command("evaluate", "--run", files.run.path, "--clip", "MODEL:WEIGHTS")
        raise NotShownError(f"the last evaluation has no table 3; `{again}` makes one for captions")
    columns = [score for score in present(row.scores for row in rows) if score.name in TABLE3]
    # In the paper's order, whatever the order of the stored scores.
    columns.sort(key=lambda score: TABLE3.index(score.name))
    cells = [
        [
            row.name,
            *row.clip_cells(),
            *(score.text(row.scores.get(score.name)) for score in columns),
        ]
        for row in rows
    ]
    return Table(["captions", *CLIP_HEADINGS, *(score.heading for score in columns)], cells)


def origin(files: RunFiles) -> Table:
    """The origin of a run: recipe, seed, sizes, time."""
    manifest = files.manifest
    total, seconds = manifest.parameters.get("total"), manifest.seconds
    rows = [
        ["recipe", str(files.tables.get("name", "-"))],
        ["seed", str(files.tables.get("seed", 0))],
        ["finished", manifest.finished or "not yet"],
        ["optimizer steps", str(manifest.steps or "-")],
        ["parameters", "-" if total is None else f"{total:,}"],
        ["training, seconds", "-" if seconds is None else f"{seconds:.0f}"],
    ]
    return Table(["what", "value"], rows, words=2)


def versions(run: Run) -> Table:
    """Python, packages, components and the machine, from the run's manifest."""
    environment = run.manifest().environment
    machine = environment.model_dump(
        include={"python", "platform", "device", "cores", "threads"}, exclude_unset=True
    )
    groups = (machine, environment.packages, environment.components)
    rows = [[name, str(value)] for group in groups for name, value in group.items()]
    return Table(["what", "version"], rows, words=2)
