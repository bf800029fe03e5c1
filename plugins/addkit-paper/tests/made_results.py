"""Results that claims are judged by, made up: an ablation and trainings of captions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from addkit_paper.claims.quantities import SeedScores
from addkit_paper.claims.stored_results import StoredResults, caption_runs
from made import arm, evaluated, made_result, made_run, row

from addkit.ablation import ArmRow
from addkit.evaluation.results import CLIP_FIELDS
from addkit.report.ablation_files import AblationFiles

SEEDS = (0, 1, 2)
Scores = Sequence[float | None]


def made_table(
    path: Path,
    arms: Sequence[Any] = (),
    base: Scores = (80.0, 81.0, 82.0),
    runs: Sequence[str] = (),
    **given: Any,
) -> Path:
    """result.json of a base and of arms: (changes, scores[, runs]), or a whole `ArmRow`."""
    rows = [one if isinstance(one, ArmRow) else arm(*one, name="x") for one in arms]
    return made_result(path, rows, base, runs, **{"recipe": "ablation", **given})


def made_stored_results(
    path: Path, *arms: Any, captions: Sequence[Path] = (), **given: Any
) -> StoredResults:
    """`made_table`, opened."""
    files = AblationFiles.open(made_table(path / "abl", arms, **given))
    return StoredResults(files, caption_runs(captions))


def with_runs(folder: Path, name: str, **given: Any) -> list[str]:
    """Trainings of three seeds, named as result.json does."""
    runs = [made_run(folder / f"{name}-{seed}", seed=seed, **given) for seed in SEEDS]
    return [str(run) for run in runs]


def made_captions(
    folder: Path,
    scores: Sequence[float] = (0.6, 0.7, 0.8),
    controls: Mapping[str, Sequence[float]] | None = None,
) -> list[Path]:
    """A training of captions for each score; a control for as many seeds as it has scores."""
    given = {"task": "captioning", "score": "exact_match", "split": "validation"}
    found = []
    for seed, score in enumerate(scores):
        run = made_run(folder / f"emoji-{seed}", seed=seed, value=score, **given)
        noted(run, chosen_steps=1, chosen_from={"1": score, "20": score / 2})
        for name, values in (controls or {}).items():
            if seed < len(values):
                made_run(run / "controls" / name, seed=seed, value=values[seed], **given)
        found.append(run)
    return found


def noted(run: Path, **entries: Any) -> None:
    """Add to the manifest."""
    file = run / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def clipped(run: Path, steps: int = 1, clip: str = "small", **cosines: float) -> None:
    """Store an evaluation whose table 3 has these cosines."""
    empty = {**dict.fromkeys(CLIP_FIELDS), "share": None}
    rows = [
        {**empty, "row": name.replace("_", " "), "clip_cosine": value}
        for name, value in cosines.items()
    ]
    evaluated(run, [row(steps, 0.0)], table3=rows, clip=clip)


def series_of(*values: float) -> SeedScores:
    """A score of the seeds 0, 1, ..."""
    return SeedScores("score", 2, dict(enumerate(values)))
