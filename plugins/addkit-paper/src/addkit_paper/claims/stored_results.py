"""The stored results that claims are tested on: an ablation, and captioning runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from addkit.ablation import ABLATIONS, BaseRow
from addkit.ablation.results import RESULT
from addkit.errors import AddkitError, RunError, UsageError
from addkit.report.ablation_files import AblationFiles
from addkit.report.run_files import RunFiles
from addkit.runs import Run
from addkit.terminal import addkit_command

RECIPE = "ablation"
"""Name of the recipe whose arms are the paper's rows."""
SEED_SPECIFIC = ("seed", "summary", "control", "ablation", "distributed")
"""Recipe keys that may differ between the seeds of one experiment."""


class MissingResultError(AddkitError):
    """A stored result that a claim needs is missing. The text names what would produce it."""


@dataclass(frozen=True)
class StoredResults:
    """One ablation, and the captioning runs of several seeds."""

    ablation: AblationFiles
    captions: Mapping[int, RunFiles]
    """Seed -> a finished captioning run with its controls; may be empty."""

    @cached_property
    def base_runs(self) -> dict[int, Run]:
        """Seed -> run of the ablation's base, for the run folders that still exist."""
        return self.runs({})

    def arm(self, changes: Mapping[str, Any]) -> BaseRow:
        """The arm that asked for exactly these changes; for no changes, the base.

        Raises:
            MissingResultError: there is no such arm, or it failed.
        """
        if not changes:
            return self.ablation.result.base
        # By its changes, as the names of arms are the user's choice.
        for arm in self.ablation.result.arms:
            if (arm.overrides or arm.changes) != changes:
                continue
            if arm.error:
                raise MissingResultError(f"the arm {arm_text(changes)} failed: {arm.error}")
            return arm
        raise MissingResultError(f"the ablation has no arm {arm_text(changes)}")

    def values(self, changes: Mapping[str, Any]) -> dict[int, float]:
        """Seed -> the arm's score as stored, without seeds that failed."""
        values = zip(self.ablation.result.seeds, self.arm(changes).values, strict=False)
        return {seed: value for seed, value in values if value is not None}

    def runs(self, changes: Mapping[str, Any]) -> dict[int, Run]:
        """Seed -> run of the arm, for the run folders that still exist."""
        runs = self.ablation.runs(self.arm(changes))
        return {int(run.recipe_tables().get("seed", 0)): run for run in runs}


def arm_text(changes: Mapping[str, Any]) -> str:
    """An arm in Markdown: `loss.name=ce, sampling.steps=1`."""
    return f"`{', '.join(f'{key}={value}' for key, value in changes.items())}`"


def open_results(
    folder: Path | None, captions: Sequence[Path] = (), root: Path = ABLATIONS
) -> StoredResults:
    """Open an ablation's folder, by default the newest of the paper's, and captioning runs.

    Raises:
        RunError: a folder or a file in it is missing or broken.
        UsageError: captioning runs that cannot be compared.
    """
    return StoredResults(
        AblationFiles.open(folder or newest_ablation(root)), caption_runs(captions)
    )


def newest_ablation(root: Path = ABLATIONS) -> Path:
    """The folder below `root` with the newest result of the recipe "ablation".

    Raises:
        RunError: there is none.
    """
    files = [file for file in root.glob(f"*/{RESULT}") if _recipe_name(file) == RECIPE]
    if not files:
        raise RunError(
            f'no finished ablation of recipe "{RECIPE}" in {root}/; make one with `addkit ablate '
            "recipes/ablation.toml`, or name its folder"
        )
    return max(files, key=lambda file: file.stat().st_mtime).parent


def _recipe_name(file: Path) -> Any:
    # An unreadable result belongs to no ablation that is searched for, so it is no error here.
    try:
        return json.loads(file.read_text("utf-8"))["recipe"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def caption_runs(paths: Sequence[Path]) -> dict[int, RunFiles]:
    """Seed -> finished run of one captioning recipe.

    Raises:
        RunError: no run, or one that is not finished.
        UsageError: another task, two runs of one seed, or runs of different recipes.
    """
    by_seed: dict[int, RunFiles] = {}
    for path in paths:
        run = RunFiles.open(path)
        task = run.tables.get("task", {}).get("name")
        if task != "captioning":
            raise UsageError(
                f'--captions {path}: its task is "{task}"; give runs of a captioning recipe, such '
                "as recipes/emoji.toml"
            )
        if not run.run.finished:
            again = addkit_command("train", path, "--resume")
            raise RunError(
                f"--captions {path}: its training has not finished; continue it with `{again}`"
            )
        seed = int(run.tables.get("seed", 0))
        if seed in by_seed:
            raise UsageError(
                f"--captions {path}: {by_seed[seed].run.path} has the same seed, {seed}; give one "
                "run of each seed"
            )
        for other in by_seed.values():
            _check_same_recipe(run, other)
        by_seed[seed] = run
    return dict(sorted(by_seed.items()))


def _check_same_recipe(run: RunFiles, other: RunFiles) -> None:
    # Differences are paired by seed, which means something within one experiment only.
    for table in sorted(run.tables.keys() | other.tables.keys()):
        if table not in SEED_SPECIFIC and run.tables.get(table) != other.tables.get(table):
            raise UsageError(
                f"--captions {run.run.path}: its [{table}] differs from that of {other.run.path}; "
                "give runs of one recipe that differ in their seeds alone"
            )
