"""Scoring a finished run over a grid of settings, with the audit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addkit.data.loader import fitting_workers
from addkit.errors import AddkitWarning, DataError, UsageError
from addkit.evaluation.audit import audit_cases, conclude
from addkit.evaluation.batches import Case, score_cases
from addkit.evaluation.captions import ClipColumns, Row, nearest_captions, table_rows
from addkit.evaluation.early_exit import exit_curve, needs_loop
from addkit.evaluation.uncertainty import measure_uncertainty, needs_one_label
from addkit.model import Inference, Predictor, build_data, load
from addkit.plugin.protocols import DataSource, ImageSet, Meter
from addkit.recipe import recipe_from_tables
from addkit.runs import Run
from addkit.runs.atomic import write_json
from addkit.tasks.captioning import CaptionMeter, captions_of

if TYPE_CHECKING:
    from addkit.metrics.clip import ClipScorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Settings to score, each combination once; None is the recipe's."""

    steps: list[int] | None = None
    guidance: list[float] | None = None
    read_out: list[str] | None = None
    sampler: list[str] | None = None
    to_one: list[str] | None = None
    chains: int | None = None
    early_exit: list[int] | None = None
    """One value is part of every combination; several are compared with each other instead."""

    def of(self, inference: Inference) -> list[Inference]:
        """Every combination, in the order of the lists."""
        axes = (self.read_out, self.sampler, self.to_one, self.guidance, self.steps)
        keys = ("read_out", "sampler", "to_one", "guidance", "steps")
        alone = self.early_exit[0] if self.early_exit and len(self.early_exit) == 1 else None
        inference = inference.but(chains=self.chains, early_exit=alone)
        ways = [
            inference.but(**dict(zip(keys, values, strict=True)))
            for values in product(*(axis or [None] for axis in axes))
        ]
        return _side_inputs_one_step(ways) if inference.problem.num_tokens > 1 else ways


def _side_inputs_one_step(ways: list[Inference]) -> list[Inference]:
    """With several tokens each loop stands beside its own first step, or its gain means nothing."""
    shown: list[Inference] = []
    for way in ways:
        first = way.but(steps=1)
        known = {_case_name(one) for one in shown}
        shown += [one for one in (first, way) if _case_name(one) not in known or one is way]
    return list({_case_name(way): way for way in shown}.values())


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `addkit evaluate` prints and stores."""

    run: str
    split: str
    weights: str
    results: list[dict[str, Any]]
    """A row for each setting: steps, guidance, to_one, sampler, read_out and the task's scores."""
    controls: list[dict[str, Any]]
    """The same for each matched control."""
    audit: dict[str, Any] | None
    table3: list[dict[str, Any]] | None = None
    """Of captions: the paper's table 3, see `addkit.evaluation.captions`."""
    clip: str | None = None
    """What CLIP scores depend on."""
    uncertainty: dict[str, Any] | None = None
    """Confidences compared, where asked for: see `addkit.evaluation.uncertainty.Uncertainty`."""
    early_exit: list[dict[str, Any]] | None = None
    """A row for each value, where any was given: see `addkit.evaluation.early_exit.exit_curve`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an evaluation is to look at, and what it is to tell besides the scores."""

    split: str = "test"
    weights: str = "ema"
    """`ema` or `raw`."""
    overrides: Sequence[str] = ()
    """`data.key=value` where the data lies elsewhere now."""
    audit: bool = True
    """Score the loop under five conditions."""
    table3: bool = True
    """Of captions, compare with copies and with other processes."""
    clip: str | None = None
    """Of captions, the model of the CLIP scores (see `addkit.metrics.clip.parse_clip`)."""
    uncertainty: bool = False
    """Of one label, compare the votes of chains with other confidences; the chains are those of the
    last combination of the grid."""
    seed: int = 0
    """Of all noise."""


def evaluate_run(path: Path, grid: Grid, wish: Wish | None = None) -> Evaluation:
    """Score a run, store the result in it as `evaluation.json` and return it.

    Args:
        path: the run, or one of its checkpoints.
        grid: settings to score, each combination once.
        wish: what else.

    Raises:
        RunError, DataError, UsageError: no run, no data, no such split or setting.
    """
    found = _evaluated(path, grid, wish or Wish())
    if (path / "recipe.toml").exists():
        write_json(path / "evaluation.json", asdict(found))
    return found


def _evaluated(path: Path, grid: Grid, wish: Wish) -> Evaluation:
    predictor = load(path, weights=wish.weights)
    _check_more(predictor, grid, wish.uncertainty)
    scorer = _clip_scorer(predictor, wish.clip)
    source = _moved_data(predictor, wish.overrides)
    images = source.split(wish.split)
    ways = grid.of(predictor.inference)
    checks = audit_cases(predictor.inference) if wish.audit and predictor.loops else {}
    cases = {**{_case_name(way): Case(way) for way in ways}, **checks}
    meters = _score(predictor, images, cases, wish.seed)
    heads = _control_predictors(path, wish.weights)
    controls = _controls(heads, images, wish.seed)
    shown = [meters[_case_name(way)] for way in ways]
    captions = _captions_of(predictor, source, images, shown, controls, scorer, wish)
    return Evaluation(
        run=str(path),
        split=wish.split,
        weights=wish.weights,
        results=[
            {**_row(way, meter), **more}
            for way, meter, more in zip(ways, shown, captions.columns, strict=True)
        ],
        controls=[row.scores for row in controls],
        audit=_audit(meters, checks, controls) if checks else None,
        table3=captions.table3,
        clip=None if scorer is None else str(scorer.describe()),
        uncertainty=_confidences(predictor, heads, source, ways[-1], grid, wish),
        early_exit=_exits(predictor, images, ways[-1], grid, wish.seed),
    )


def _confidences(
    predictor: Predictor,
    controls: dict[str, Predictor],
    source: DataSource,
    way: Inference,
    grid: Grid,
    wish: Wish,
) -> dict[str, Any] | None:
    if not wish.uncertainty:
        return None
    chains, seed = grid.chains, wish.seed
    return asdict(measure_uncertainty(predictor, controls, source, wish.split, way, chains, seed))


def _check_more(predictor: Predictor, grid: Grid, uncertainty: bool) -> None:
    """Refuse before the first score what the run cannot give."""
    several = len(grid.early_exit or []) > 1
    if (uncertainty or several) and grid.steps and grid.steps[-1] == 1:
        raise UsageError(
            "one step is no chain: --uncertainty and --early-exit look at the last of --steps; "
            "give 2 or more"
        )
    if uncertainty:
        needs_one_label(predictor)
    for value in grid.early_exit or []:
        predictor.inference.but(early_exit=value)
    if several:
        needs_loop(predictor)


def _exits(
    predictor: Predictor, images: ImageSet, way: Inference, grid: Grid, seed: int
) -> list[dict[str, Any]] | None:
    if not (grid.early_exit and predictor.loops):
        return None
    return exit_curve(predictor, images, way, grid.early_exit, seed)


@dataclass(frozen=True, slots=True)
class _Captions:
    """What an evaluation of captions has besides."""

    columns: list[dict[str, Any]]
    """For each result."""
    table3: list[dict[str, Any]] | None = None


def _captions_of(
    predictor: Predictor,
    source: DataSource,
    images: ImageSet,
    meters: list[Meter],
    controls: list[_ControlRow],
    scorer: ClipScorer | None,
    wish: Wish,
) -> _Captions:
    told = [meter for meter in meters if isinstance(meter, CaptionMeter)]
    if not told:
        return _Captions([{} for _ in meters])
    references = told[0].references
    clip = None if scorer is None else ClipColumns.of(images, references, scorer)
    columns = [
        {"clip_cosine": None if clip is None else clip.scores(meter.captions)["clip_cosine"]}
        for meter in told
    ]
    if not wish.table3:
        return _Captions(columns)
    rows = [Row(predictor.recipe.model_name, told[-1].captions)]
    rows += [
        Row(row.name, row.meter.captions) for row in controls if isinstance(row.meter, CaptionMeter)
    ]
    train = source.split("train")
    training = captions_of(train, told[0].vocabulary)
    batch_size = predictor.recipe.sampling.batch_size
    copies = nearest_captions(predictor.network, train, training, images, batch_size)
    return _Captions(columns, table_rows(references, training, copies, rows, clip, wish.seed))


def _moved_data(predictor: Predictor, overrides: Sequence[str]) -> DataSource:
    """The run's data where the overrides say that it lies now."""
    for override in overrides:
        if not override.lstrip().startswith("data."):
            raise UsageError(f"--set {override}: only data.KEY=VALUE can change in an evaluation")
    tables, path = predictor.recipe.tables(), predictor.recipe.source
    source = build_data(recipe_from_tables(tables, path, overrides=overrides))
    trained, found = predictor.facts, source.facts
    if found.num_classes != trained.num_classes:
        raise DataError(
            f"the data has {found.num_classes} classes, and the run was trained on "
            f"{trained.num_classes}"
        )
    if found.class_names != trained.class_names and trained.pad is not None:
        raise DataError(
            "the data's training captions give another vocabulary than the run's; evaluate on the "
            "data that the run was trained on"
        )
    if found.class_names != trained.class_names:
        warnings.warn(
            "the data's class names are not those of the run; classes are taken in order",
            AddkitWarning,
            stacklevel=2,
        )
    return source


def _case_name(way: Inference) -> str:
    """The same name for settings that cannot differ: a read-out of one pass has no steps."""
    if way.one_pass:
        return f"{way.read_out.name} {way.guidance}"
    names = (way.read_out.name, way.sampler.name, way.to_one_name)
    return " ".join([*names, f"{way.guidance} {way.steps}"])


def _score(
    predictor: Predictor, images: ImageSet, cases: dict[str, Case], seed: int
) -> dict[str, Meter]:
    return score_cases(
        predictor.network,
        images,
        cases,
        predictor.task,
        batch_size=predictor.recipe.sampling.batch_size,
        seed=seed,
        workers=fitting_workers(predictor.recipe.distributed.workers, 1),
    )


def _row(way: Inference, meter: Meter) -> dict[str, Any]:
    return {
        "steps": way.steps,
        "guidance": way.guidance,
        "to_one": way.to_one_name,
        "sampler": way.sampler.name,
        "read_out": way.read_out.name,
        "chains": way.chains,
        "one_pass": way.one_pass,
        **asdict(meter.compute()),
    }


@dataclass(frozen=True, slots=True)
class _ControlRow:
    name: str
    scores: dict[str, Any]
    meter: Meter

    @property
    def right(self) -> float:
        """Images it got right, in percent."""
        return 100 * float(self.meter.correct.float().mean())


def _clip_scorer(predictor: Predictor, clip: str | None) -> ClipScorer | None:
    if clip is None:
        return None
    if predictor.facts.pad is None:
        raise UsageError("--clip scores captions, and this run has none")
    from addkit.metrics.clip import ClipScorer, parse_clip

    return ClipScorer(parse_clip(clip), predictor.device)


def _controls(predictors: dict[str, Predictor], images: ImageSet, seed: int) -> list[_ControlRow]:
    rows = []
    for head, predictor in predictors.items():
        meter = _score(predictor, images, {"control": Case(predictor.inference)}, seed)["control"]
        row = {**_row(predictor.inference, meter), "read_out": f"control, {head}"}
        rows.append(_ControlRow(head, row, meter))
    return rows


def _control_predictors(path: Path, weights: str) -> dict[str, Predictor]:
    return {head: load(run.path, weights=weights) for head, run in Run(path).controls().items()}


def _audit(
    meters: dict[str, Meter], checks: dict[str, Case], controls: list[_ControlRow]
) -> dict[str, Any]:
    control = controls[0].right if controls else None
    steps = checks["last_step"].inference.steps
    return asdict(conclude({name: meters[name].correct for name in checks}, control, steps))
