"""An ablation from its recipe to its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

from addkit.ablation.arms import BASE, Arm, arms_of, matched_base, name_of
from addkit.ablation.results import (
    AblationResult,
    BaseRow,
    Store,
    compare,
    fingerprint,
    inference_tables,
    spread,
)
from addkit.ablation.worker import AblationProgress, Task, execute
from addkit.errors import RecipeError, UsageError, guess
from addkit.evaluation.results import Score
from addkit.recipe import Recipe
from addkit.runs.disk import disk_errors
from addkit.training.control import heads_for


@dataclass(frozen=True)
class AblationPlan:
    """The arms of an ablation and the trainings that they need."""

    recipe: Recipe
    arms: list[Arm]
    """The base first."""
    shared: list[str]
    """Overrides that every arm got, the base too, since one of them needs it."""

    @cached_property
    def trainings(self) -> dict[str, tuple[str, Recipe]]:
        """Training key -> (name to show, recipe), each once, in the order of the arms."""
        trainings: dict[str, tuple[str, Recipe]] = {}
        # Arms that differ in inference settings alone share a training, and its first name.
        for arm in self.arms:
            for (training, _), recipe in zip(arm.keys, arm.recipes, strict=True):
                trainings.setdefault(training, (f"{arm.name}, seed {recipe.seed}", recipe))
        return trainings

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of the table needs."""
        notes = []
        if self.shared:
            notes.append(
                f"in every arm, the base too, since one needs it: {', '.join(self.shared)}"
            )
        loop_keys = {"sampling.steps", "sampling.chains", "sampler.name", "to_one.name"}
        idle = [
            arm.name
            for arm in self.arms
            if arm.recipes
            and loop_keys & set(arm.changes)
            and "one-pass" in arm.recipes[0].choices["read_out"].spec.provides
        ]
        if idle:
            notes.append(
                f"{', '.join(idle)}: the read-out answers in one pass, whatever the steps; "
                "add --read-out last to see the loop"
            )
        notes += [
            f"{arm.name}: compared with {arm.reference}, which answers alike"
            for arm in self.arms
            if arm.reference != BASE
        ]
        return notes

    @property
    def key(self) -> str:
        """A fingerprint of the arms; equal for the same arms of the same recipe."""
        return fingerprint({"arms": [[arm.name, arm.keys, arm.error] for arm in self.arms]})


def plan(
    recipe: Recipe,
    requested: Sequence[tuple[str, tuple[str, ...]]],
    *,
    controls: Sequence[str] = (),
    seeds: int = 3,
) -> AblationPlan:
    """Plan the arms of an ablation; see `arms_of`. Raises `UsageError` for nothing to compare, an
    unknown control, or a value that makes an invalid recipe in every arm that has it.
    """
    if recipe.training.batch_size == "auto":
        raise RecipeError(
            f'{recipe.source}: [training] batch_size "auto" may differ between arms; give a number'
        )
    heads = heads_for(recipe)
    for head in controls:
        if head not in heads:
            raise UsageError(
                f'--controls "{head}": no control of the task '
                f'"{recipe.choices["task"].name}"{guess(head, heads)}; '
                f"there are: {', '.join(heads)}"
            )
    base, shared = matched_base(recipe, [overrides for _, overrides in requested])
    arms = arms_of(base, requested, controls, seeds)
    # A value that fails in all its arms is misspelt. One that fails in some alone cannot be
    # combined with theirs, and those arms show it.
    errors = {arm.name: arm.error for arm in arms}
    # A dict for its order: every arm of a grid reports the same fault.
    faults: dict[str, None] = {}
    for value in dict.fromkeys(value for _, overrides in requested for value in overrides):
        names = [name or name_of(overrides) for name, overrides in requested if value in overrides]
        failed = [error for name in names if (error := errors.get(name)) is not None]
        if len(failed) == len(names):
            faults |= dict.fromkeys(failed[0].splitlines())
    if faults:
        raise UsageError("\n".join(faults))
    if len(arms) < 2:
        raise UsageError(
            f"{recipe.source}: nothing to compare: every arm is the recipe itself; name another "
            "value, such as --loss mse"
        )
    return AblationPlan(base, arms, shared)


def ablate(
    what: AblationPlan,
    store: Store,
    progress: AblationProgress,
    *,
    jobs: int = 1,
    command: str = "",
    metric: str = "",
) -> AblationResult:
    """Train and score what is not yet in the store, compare, and store the table.

    Interrupted at any time, the same call resumes.

    Args:
        what: the arms.
        store: the folder of trainings and scores.
        progress: is called when a training begins, advances and ends.
        jobs: trainings at a time.
        command: the shell command that repeats it, for the report.
        metric: the score to compare; empty: the task's own.

    Raises:
        UsageError: no arm has such a score.
    """
    start = perf_counter()
    # A training counts as run now if it was not finished before, resumed ones included.
    finished_before = {key for key in what.trainings if store.run(key).finished}
    errors = _train_and_score(what, store, progress, jobs)
    # Each training counts in the first row that uses it, so that the column adds up.
    used: set[str] = set()
    rows = []
    for arm in what.arms:
        rows.append(_row(arm, len(what.arms[0].recipes), store, errors, used, metric))
        used.update(training for training, _ in arm.keys)
    by_name = {row.name: row for row in rows}
    # From any seed of the base: all were scored on the same number of images.
    resolution = 0.0
    for keys in what.arms[0].keys:
        if (stored := store.scores(*keys)) is not None:
            count = int(stored.scores["count"] or 1)
            compared = Score.named(metric or stored.headline)
            # Of a score that is no share of images, one image more has no size.
            if not metric or compared.over_images:
                resolution = compared.one_image(count)
            break
    result = AblationResult(
        # A folder for each score: another table is not this one again.
        folder=str(store.folder("-".join(filter(None, (what.recipe.name, metric))), what.key)),
        recipe=what.recipe.name,
        command=command,
        metric=rows[0].metric,
        seeds=rows[0].seeds,
        shared=what.shared,
        notes=what.notes,
        base=rows[0],
        arms=[
            compare(by_name[arm.reference], row, resolution)
            for arm, row in zip(what.arms[1:], rows[1:], strict=True)
        ],
        train_runs=len(what.trainings),
        trained_now=sum(
            store.run(key).finished for key in what.trainings if key not in finished_before
        ),
        seconds=perf_counter() - start,
    )
    # Last, so that a folder with a result.json has all its scores.
    result.write()
    return result


def _train_and_score(
    what: AblationPlan, store: Store, progress: AblationProgress, jobs: int
) -> dict[str, str]:
    """Do what the store lacks; returns training key -> error of the trainings that failed."""
    # Training key -> file of the scores -> tables, so that each network is loaded once.
    missing: dict[str, dict[str, dict[str, object]]] = {}
    for arm in what.arms:
        for (training, inference), recipe in zip(arm.keys, arm.recipes, strict=True):
            if store.scores(training, inference) is None:
                file = store.scores_file(training, inference)
                missing.setdefault(training, {})[str(file)] = inference_tables(recipe)
    with disk_errors(store.root / "scored"):
        (store.root / "scored").mkdir(parents=True, exist_ok=True)
    keys, tasks = {}, {}
    for key, settings in missing.items():
        name, recipe = what.trainings[key]
        keys[name] = key
        run = str(store.run(key).path)
        tasks[name] = Task(run, recipe.tables(), str(recipe.source), settings)
    return {keys[name]: error for name, error in execute(tasks, jobs, progress).items()}


def _row(
    arm: Arm, seeds: int, store: Store, errors: Mapping[str, str], used: set[str], metric: str
) -> BaseRow:
    """Scores of an arm, of the task's own metric if it is empty; `used` has the trainings of the
    rows above.
    """
    stored = [store.scores(*keys) for keys in arm.keys]
    scored = next((scores for scores in stored if scores), None)
    if metric and scored and metric not in scored.scores:
        raise UsageError(
            f'--metric "{metric}": no such score{guess(metric, scored.scores)}; there are: '
            f"{', '.join(scored.scores)}"
        )
    metric = metric or (scored.headline if scored else "")
    values = [None if scores is None else scores.scores[metric] for scores in stored]
    # An arm without a valid recipe has no keys, and still a cell for each seed.
    values = values or [None] * seeds
    mean, sd = spread(values)
    trainings = [training for training, _ in arm.keys]
    failures = [errors[key] for key in trainings if key in errors]
    return BaseRow(
        name=arm.name,
        overrides=dict(arm.overrides),
        changes=dict(arm.changes),
        seeds=[recipe.seed for recipe in arm.recipes],
        metric=metric,
        values=values,
        mean=mean,
        sd=sd,
        train_runs=len(set(trainings) - used),
        runs=[str(store.run(key).path) for key in trainings],
        error=arm.error or (failures[0] if failures else None),
    )
