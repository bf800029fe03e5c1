"""Cross-fitting: each record is examined by a model that was trained on the others."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import torch

from addkit.data.settings import AttributeTableConfig
from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.errors import UsageError
from addkit.model import build_data, fetch_weights, load, with_encoder_input
from addkit.recipe import Recipe, recipe_from_tables
from addkit.repair.records import Record, Records
from addkit.repair.suspicion import Suspicion, examined
from addkit.runs import Run
from addkit.runs.atomic import write_text
from addkit.runs.folder import begin_in
from addkit.training.train import train

SPLIT = "addkit split"
"""Column of the tables that the folds are trained on."""


def folds_of(rows: Sequence[Record], count: int, seed: int) -> list[list[Record]]:
    """The rows in `count` parts of nearly equal size, by counted random numbers."""
    draws = uniforms(counted_seed(seed, "repair folds"), torch.arange(len(rows)), 1)[:, 0]
    order = draws.argsort(stable=True).tolist()
    return [[rows[index] for index in sorted(order[part::count])] for part in range(count)]


def cross_fitted(
    recipe: Recipe,
    records: Records,
    folder: Path,
    folds: int,
    begin: Callable[[int], None],
) -> list[Suspicion]:
    """Every recorded label, examined by a model of the other folds' recorded labels.

    The runs are `fold-N` in the folder; interrupted, the same call resumes them.

    Args:
        recipe: of an attribute table.
        records: of its table.
        folder: for the folds' tables and runs.
        folds: number of parts, at least 2.
        begin: is called with the number of each fold before its training.

    Raises:
        UsageError: fewer records than folds.
        DataError: a fold's records make no training set.
    """
    if not 2 <= folds <= len(records.rows):
        raise UsageError(f"--folds {folds}: give 2 to {len(records.rows)}, the table's records")
    config = recipe.choices["data"].config
    assert isinstance(config, AttributeTableConfig)
    root = config.root or config.file.expanduser().parent
    suspicions: list[Suspicion] = []
    for number, part in enumerate(folds_of(records.rows, folds, recipe.seed), 1):
        begin(number)
        table = folder / f"fold-{number}.csv"
        _write_fold(table, records, {row.index for row in part}, config.image_column)
        tables = recipe.tables()
        tables["data"] |= {
            "file": str(table),
            "root": str(root.absolute()),
            "attributes": list(records.names),
            "split_column": SPLIT,
            "separator": ",",
            # A value of this fold alone is not examined; it must not stop the training.
            "unknown_values": "missing",
            "validation": 0.0,
        }
        tables["control"] = {"heads": []}
        run = _trained(folder / f"fold-{number}", recipe_from_tables(tables, recipe.source))
        suspicions += examined(load(run.path), records, part, seed=recipe.seed)
    return suspicions


def _write_fold(path: Path, records: Records, held: set[int], image_column: str) -> None:
    """A table with a column of splits: the held rows are `test`."""
    table = records.table
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keep = [table.columns.index(name) for name in (image_column, *records.names)]
    writer.writerow([*(table.columns[place] for place in keep), SPLIT])
    for index, row in enumerate(table.rows):
        split = "test" if index in held else "train"
        writer.writerow([*(row.cells[place] for place in keep), split])
    write_text(path, text.getvalue())


def _trained(path: Path, recipe: Recipe) -> Run:
    """The finished run, new or resumed."""
    if (path / "recipe.toml").exists():
        run = Run.open(path)
        recipe = run.recipe()
    else:
        fetch_weights(recipe)
        begin_in(path)
        run = Run.create(path, with_encoder_input(recipe), build_data(recipe).facts)
    train(recipe, run)
    return run
