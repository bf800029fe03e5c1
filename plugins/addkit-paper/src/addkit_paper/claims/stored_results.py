"""The stored results that claims are judged by: an ablation, and trainings that caption."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from addkit.ablation import ABLATIONS, BaseRow
from addkit.ablation.results import RESULT
from addkit.errors import RunError, UsageError
from addkit.report.ablation_files import AblationFiles
from addkit.report.run_files import RunFiles
from addkit.runs import Run
from addkit_paper.claims.series import NotThereError

RECIPE = "ablation"
"""The recipe whose arms are the paper's rows."""
APART = ("seed", "summary", "control", "ablation", "distributed")
"""Tables in which the seeds of one experiment may differ."""


@dataclass(frozen=True)
class Evidence:
    """What was measured."""

    ablation: AblationFiles
    captions: Mapping[int, RunFiles]
    """Seed -> a finished training of captions, with its controls; may be empty."""

    @cached_property
    def base_runs(self) -> dict[int, Run]:
        """The base's trainings that are still there, by seed."""
        return self.runs({})

    def arm(self, changes: Mapping[str, Any]) -> BaseRow:
        """The arm with just these changes, whatever its name; none: the base.

        Raises:
            NotThereError: there is no such arm, or it failed.
        """
        if not changes:
            return self.ablation.result.base
        for arm in self.ablation.result.arms:
            if arm.changes != changes:
                continue
            if arm.error:
                raise NotThereError(f"the arm `{said(changes)}` failed: {arm.error}")
            return arm
        raise NotThereError(f"the ablation has no arm `{said(changes)}`")

    def values(self, changes: Mapping[str, Any]) -> dict[int, float]:
        """Seed -> the ablation's score of that arm, for the seeds that did not fail."""
        pairs = zip(self.ablation.result.seeds, self.arm(changes).values, strict=False)
        return {seed: value for seed, value in pairs if value is not None}

    def runs(self, changes: Mapping[str, Any]) -> dict[int, Run]:
        """Seed -> the training behind that arm, for those that are still there."""
        found = self.ablation.runs(self.arm(changes))
        return {int(run.recipe_tables().get("seed", 0)): run for run in found}


def said(changes: Mapping[str, Any]) -> str:
    """`loss.name=ce, sampling.steps=1`."""
    return ", ".join(f"{key}={value}" for key, value in changes.items())


def open_evidence(
    folder: Path | None, captions: Sequence[Path] = (), root: Path = ABLATIONS
) -> Evidence:
    """The ablation in a folder, or the newest of the paper's, and the caption runs.

    Raises:
        RunError: a folder or a file in it is missing or broken.
        UsageError: caption runs that cannot be set side by side.
    """
    return Evidence(AblationFiles.open(folder or newest_ablation(root)), caption_runs(captions))


def newest_ablation(root: Path = ABLATIONS) -> Path:
    """The folder below `root` with the newest table of the recipe "ablation".

    Raises:
        RunError: there is none; says what to do.
    """
    found = [file for file in root.glob(f"*/{RESULT}") if _recipe_of(file) == RECIPE]
    if not found:
        raise RunError(
            f'no finished ablation of recipe "{RECIPE}" in {root}/; make one with `addkit ablate '
            "recipes/ablation.toml`, or name its folder"
        )
    return max(found, key=lambda file: file.stat().st_mtime).parent


def _recipe_of(file: Path) -> Any:
    """None where the file cannot be read: then it is not the one that is sought."""
    try:
        return json.loads(file.read_text("utf-8"))["recipe"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def caption_runs(paths: Sequence[Path]) -> dict[int, RunFiles]:
    """Finished trainings of one captioning recipe, by their seeds.

    Raises:
        RunError: no run, or one that is not finished.
        UsageError: not of captions, two of one seed, or of different recipes.
    """
    found: dict[int, RunFiles] = {}
    for path in paths:
        files = RunFiles.open(path)
        _check(files)
        seed = int(files.tables.get("seed", 0))
        if seed in found:
            raise UsageError(
                f"--captions {path}: seed {seed} is given already by {found[seed].run.path}; give "
                "one run of each seed"
            )
        for other in found.values():
            _check_alike(files, other)
        found[seed] = files
    return dict(sorted(found.items()))


def _check(files: RunFiles) -> None:
    path = files.run.path
    task = files.tables.get("task", {}).get("name")
    if task != "captioning":
        raise UsageError(
            f'--captions {path}: its task is "{task}"; give runs of captions, such as `addkit '
            "train recipes/emoji.toml` makes"
        )
    if not files.run.finished:
        raise RunError(
            f"--captions {path}: the training is not over; `addkit train --resume --run-dir {path} "
            "RECIPE` goes on with it"
        )


def _check_alike(files: RunFiles, other: RunFiles) -> None:
    """Pairs of seeds mean something within one experiment only."""
    ours, theirs = files.tables, other.tables
    for table in sorted(ours.keys() | theirs.keys()):
        if table not in APART and ours.get(table) != theirs.get(table):
            raise UsageError(
                f"--captions {files.run.path}: its [{table}] is not that of {other.run.path}; "
                "give runs of one recipe that differ in their seeds alone"
            )
