"""Evaluation of a finished run over a grid of settings, with everything else that was asked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from addkit.data.folders import FolderStore
from addkit.errors import AddkitWarning, DataError, UsageError, require_type
from addkit.evaluation.audit import audit_settings, conclude, exit_curve, needs_loop
from addkit.evaluation.batches import Evaluator, Setting, scores_of
from addkit.evaluation.captions import caption_results
from addkit.evaluation.results import Evaluation, ScoreRow, Scores
from addkit.evaluation.uncertainty import measure_uncertainty, needs_one_label
from addkit.model import Inference, Predictor, build_data, load
from addkit.model.inference import Arguments
from addkit.plugin.protocols import DataSource
from addkit.recipe import recipe_from_tables
from addkit.recipe.overrides import Override, Overrides, listed_overrides
from addkit.recipe.validation import check_arguments
from addkit.runs import Run
from addkit.runs.atomic import write_json
from addkit.runs.folder import sealed
from addkit.runs.opening import opened
from addkit.runs.remote import is_remote
from addkit.tasks.captioning import CaptionMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Inference settings to score, each combination once; None is the recipe's."""

    steps: list[int] | None = None
    guidance: list[float] | None = None
    read_out: list[str] | None = None
    sampler: list[str] | None = None
    to_one: list[str] | None = None
    chains: int | None = None
    early_exit: list[int] | None = None
    """One value is part of every combination; several are compared with each other instead."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for a value alone where a list is needed."""
        for name in ("steps", "guidance", "read_out", "sampler", "to_one", "early_exit"):
            require_type(name, getattr(self, name), list, tuple, type(None))

    def combinations(self, inference: Inference) -> list[Inference]:
        """Every combination once, in the order of the lists."""
        axes = (self.read_out, self.sampler, self.to_one, self.guidance, self.steps)
        keys = ("read_out", "sampler", "to_one", "guidance", "steps")
        # Several values are one table, made by `exit_curve` with the noise in common.
        single = self.early_exit[0] if self.early_exit and len(self.early_exit) == 1 else None
        inference = inference.replace(chains=self.chains, early_exit=single)
        listed: dict[str, Inference] = {}
        for values in product(*(axis or [None] for axis in axes)):
            each = inference.replace(**dict(zip(keys, values, strict=True)))
            if inference.problem.num_tokens > 1:
                # With several tokens the gain of a loop means nothing without its first step.
                first = each.replace(steps=1)
                listed.setdefault(_key(first), first)
            # Inferences that cannot differ are scored once.
            listed[_key(each)] = each
        return list(listed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What to evaluate, and what to measure besides the scores."""

    split: str = "test"
    weights: str = "ema"
    """`ema` or `raw`."""
    overrides: Overrides = ()
    """`data.key=value` where the data has moved since the training."""
    audit: bool = True
    """Score the loop under five conditions."""
    table3: bool = True
    """Captions: compare with copies and with other processes."""
    clip: str | None = None
    """Captions: the model of the CLIP scores (see `addkit.metrics.clip.parse_clip`)."""
    uncertainty: bool = False
    """One label: compare the votes of chains with other confidences. The chains are those of the
    last combination of the grid."""
    seed: int = 0
    """Random seed of the sampling noise."""


def evaluate_run(
    path: Path | str, grid: Grid, options: EvaluationOptions | None = None
) -> Evaluation:
    """Score a run; `store` keeps the result in it.

    Args:
        path: what `addkit.load` takes: a run, one of its checkpoints, or a pack.
        grid: settings to score, each combination once.
        options: everything else.

    Raises:
        RunError, DataError, UsageError: no run, no data, no such split or setting.
    """
    options = options or EvaluationOptions()
    require_type("path", path, str, Path)
    require_type("grid", grid, Grid)
    require_type("options", options, EvaluationOptions)
    check_arguments(Arguments, seed=options.seed)
    # Open until the end: the data may be cut into tokens by a file of the pack.
    with opened(path) as place:
        predictor = load(place, weights=options.weights)
        # What the run cannot give is refused before controls are loaded and images are scored.
        several = len(grid.early_exit or []) > 1
        if (options.uncertainty or several) and grid.steps and grid.steps[-1] == 1:
            raise UsageError(
                "one step is no chain: --uncertainty and --early-exit use the last of --steps; "
                "give 2 or more"
            )
        if options.uncertainty:
            needs_one_label(predictor)
        for value in grid.early_exit or []:
            predictor.inference.replace(early_exit=value)  # Raises for a value out of range.
        if several:
            needs_loop(predictor)
        if options.clip is not None and predictor.facts.pad is None:
            raise UsageError("--clip scores captions, and this run has none")
        controls = {
            run.model_name: load(run.path, weights=options.weights)
            for run in Run(place).controls().values()
        }
        source = _moved_data(predictor, options.overrides)
        return _evaluate(str(path), predictor, controls, source, grid, options)


def store(path: Path | str, evaluation: Evaluation) -> Path | None:
    """Write the result into its run and return the file; None for a bare checkpoint or a pack,
    which have no place for it. Raises `RunError` if it cannot be written.
    """
    if is_remote(path) or not (Path(path) / "checkpoints").is_dir():
        return None
    file = Path(path) / "evaluation.json"
    write_json(file, sealed(evaluation.data()))
    return file


def _evaluate(
    run: str,
    predictor: Predictor,
    controls: dict[str, Predictor],
    source: DataSource,
    grid: Grid,
    options: EvaluationOptions,
) -> Evaluation:
    clip = None
    if options.clip is not None:
        # open_clip is slow to import, and only --clip needs it.
        from addkit.metrics.clip import ClipScorer, parse_clip

        clip = ClipScorer(parse_clip(options.clip), predictor.device)
    images, seed = source.split(options.split), options.seed
    evaluator = Evaluator.for_predictor(predictor, images, seed)
    combinations = grid.combinations(predictor.inference)
    audited = audit_settings(predictor.inference) if options.audit and predictor.loops else {}
    # One pass over the images scores the grid and the audit together.
    meters = evaluator.score({**{_key(each): Setting(each) for each in combinations}, **audited})
    # A control has its own network and process, so it is scored by its own recipe's settings.
    control_meters = {
        name: Evaluator.for_predictor(each, images, seed).score({name: Setting(each.inference)})[
            name
        ]
        for name, each in controls.items()
    }
    model_name = predictor.recipe.model_name
    columns: list[Scores] = [{} for _ in combinations]
    table3 = None
    captions = [
        meter
        for meter in (meters[_key(each)] for each in combinations)
        if isinstance(meter, CaptionMeter)
    ]
    if captions:
        models = {model_name: captions[-1]} | {
            name: meter for name, meter in control_meters.items() if isinstance(meter, CaptionMeter)
        }
        train = source.split("train") if options.table3 else None
        columns, table3 = caption_results(evaluator, captions, models, train, clip)
    audit = None
    if audited:
        rights = [100 * float(meter.correct.float().mean()) for meter in control_meters.values()]
        correct = {name: meters[name].correct for name in audited}
        loop = audited["last_step"].inference
        # The first control is the recipe's main one.
        audit = conclude(correct, rights[0] if rights else None, loop.steps)
    last = combinations[-1]
    return Evaluation(
        run=run,
        split=options.split,
        weights=predictor.weights,
        step=predictor.step,
        results=[
            ScoreRow(model_name, each.settings, {**scores_of(meter), **more}, meter.never_predicted)
            for each, more in zip(combinations, columns, strict=True)
            for meter in (meters[_key(each)],)
        ],
        controls=[
            ScoreRow(
                name, controls[name].inference.settings, scores_of(meter), meter.never_predicted
            )
            for name, meter in control_meters.items()
        ],
        audit=audit,
        table3=table3,
        clip=None if clip is None else str(clip.describe()),
        uncertainty=measure_uncertainty(
            predictor, controls, source, options.split, last, grid.chains, seed
        )
        if options.uncertainty
        else None,
        early_exit=exit_curve(evaluator, last, grid.early_exit, predictor.task.headline)
        if grid.early_exit and predictor.loops
        else [],
    )


def _key(inference: Inference) -> str:
    """Equal for inferences that cannot differ, such as one pass with any number of steps."""
    return str(inference.settings)


def _moved_data(predictor: Predictor, overrides: Overrides) -> DataSource:
    """The run's data, at the location that the overrides give."""
    for override in listed_overrides(overrides):
        key = override.key if isinstance(override, Override) else override.lstrip()
        if not (key == "data" or key.startswith("data.")):
            place = f"overrides: {key}" if isinstance(override, Override) else f"--set {override}"
            raise UsageError(f"{place}: only data.KEY=VALUE can change in an evaluation")
    # The resolved recipe with the overrides is validated as any other, so errors name the key.
    tables, path = predictor.recipe.tables(), predictor.recipe.source
    source = build_data(recipe_from_tables(tables, path, overrides=overrides))
    store = getattr(source, "store", None)
    if isinstance(store, FolderStore) and (line := store.ignored.line()):
        warnings.warn(line, AddkitWarning, stacklevel=3)
    trained, facts = predictor.facts, source.facts
    if facts.num_classes != trained.num_classes:
        raise DataError(
            f"the data has {facts.num_classes} classes, and the run was trained on "
            f"{trained.num_classes}"
        )
    if facts.class_names == trained.class_names:
        return source
    if trained.pad is not None:
        # The ids of a caption's words mean nothing under another vocabulary.
        raise DataError(
            "the data's training captions give another vocabulary than the run's; evaluate on the "
            "data that the run was trained on"
        )
    warnings.warn(
        "the data's class names differ from the run's; classes are matched by their order",
        AddkitWarning,
        stacklevel=3,
    )
    return source
