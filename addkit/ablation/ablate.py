"""An ablation from its recipe to its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

from addkit.ablation.arms import Arm, arms_of, matched_base, name_of
from addkit.ablation.compare import BaseRow, Row, compare, spread
from addkit.ablation.execute import View, execute
from addkit.ablation.keys import answer_tables, fingerprint
from addkit.ablation.store import Store
from addkit.ablation.worker import Task
from addkit.errors import UsageError
from addkit.metrics.names import one_image
from addkit.plugin.guess import guess
from addkit.recipe import Recipe
from addkit.runs.atomic import write_json
from addkit.training.control import heads_for


@dataclass(frozen=True)
class AblationPlan:
    """What an ablation will compare."""

    recipe: Recipe
    arms: list[Arm]
    """The base first."""
    shared: list[str]
    """Overrides that every arm got, the base too, since one of them needs it."""

    @cached_property
    def trainings(self) -> dict[str, tuple[str, Recipe]]:
        """Training key -> (name to show, recipe), each once, in the order of the arms."""
        found: dict[str, tuple[str, Recipe]] = {}
        for arm in self.arms:
            for (training, _), recipe in zip(arm.keys, arm.recipes, strict=True):
                found.setdefault(training, (f"{arm.name}, seed {recipe.seed}", recipe))
        return found

    @property
    def notes(self) -> list[str]:
        """What a reader of the table should know."""
        said = []
        if self.shared:
            listed = ", ".join(self.shared)
            said.append(f"in every arm, the base too, since one needs it: {listed}")
        still = [arm.name for arm in self.arms if _in_vain(arm)]
        if still:
            said.append(
                f"{', '.join(still)}: the read-out answers in one pass, whatever the steps; "
                "add --read-out last to see the loop"
            )
        return said

    @property
    def key(self) -> str:
        """Names the ablation: the same arms of the same recipe."""
        return fingerprint({"arms": [[arm.name, arm.keys, arm.error] for arm in self.arms]})


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationResult:
    """What `addkit ablate` prints and stores as result.json."""

    folder: str
    recipe: str
    command: str
    """As it was typed."""
    metric: str
    seeds: list[int]
    shared: list[str]
    notes: list[str]
    base: BaseRow
    arms: list[Row]
    train_runs: int
    """Distinct trainings behind the table."""
    trained_now: int
    """Those that this call had to run."""
    seconds: float

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def _in_vain(arm: Arm) -> bool:
    """Changes the loop of a read-out that has none."""
    loop = {"sampling.steps", "sampling.chains", "sampler.name", "to_one.name"}
    if not (arm.recipes and loop & set(arm.changes)):
        return False
    return "one-pass" in arm.recipes[0].choices["read_out"].spec.provides


def plan(
    recipe: Recipe,
    wanted: Sequence[tuple[str, tuple[str, ...]]],
    *,
    controls: Sequence[str] = (),
    seeds: int = 3,
) -> AblationPlan:
    """The arms of an ablation; see `arms_of`.

    Raises:
        UsageError: nothing would be compared, a control is not known, or a value makes no recipe in
            any arm that has it.
    """
    _check_heads(recipe, controls)
    base, shared = matched_base(recipe, [overrides for _, overrides in wanted])
    arms = arms_of(base, wanted, controls, seeds)
    _refuse_faulty(wanted, arms)
    if len(arms) < 2:
        raise UsageError(
            f"{recipe.source}: nothing to compare: every arm is the recipe itself; name another "
            "value, such as --loss mse"
        )
    return AblationPlan(base, arms, shared)


def _check_heads(recipe: Recipe, controls: Sequence[str]) -> None:
    task = recipe.choices["task"].name
    fit = heads_for(task)
    for head in controls:
        if head not in fit:
            raise UsageError(
                f'--controls "{head}": no control of the task "{task}"{guess(head, fit)}; '
                f"there are: {', '.join(fit)}"
            )


def _refuse_faulty(wanted: Sequence[tuple[str, tuple[str, ...]]], arms: Sequence[Arm]) -> None:
    """A misspelt value fails wherever it stands; one that does not go with another, only there."""
    errors = {arm.name: arm.error for arm in arms}
    told: dict[str, None] = {}
    for value in dict.fromkeys(one for _, overrides in wanted for one in overrides):
        having = [name or name_of(overrides) for name, overrides in wanted if value in overrides]
        failed = [error for name in having if (error := errors.get(name)) is not None]
        if len(failed) == len(having):
            told |= dict.fromkeys(failed[0].splitlines())
    if told:
        raise UsageError("\n".join(told))


def ablate(
    what: AblationPlan, store: Store, view: View, *, jobs: int = 1, command: str = ""
) -> AblationResult:
    """Train and score what is not yet in the store, and compare.

    The table is written to the ablation's folder. Stopped at any time, the same call goes on.

    Args:
        what: the arms.
        store: where trainings and scores are kept.
        view: shows progress.
        jobs: trainings at a time.
        command: how to repeat it, for the report.
    """
    start = perf_counter()
    done = {key for key in what.trainings if store.run(key).finished}
    errors = _run(what, store, view, jobs)
    seen: set[str] = set()
    seeds = len(what.arms[0].recipes)
    rows = [_row(arm, seeds, store, errors, seen) for arm in what.arms]
    resolution = _resolution(what.arms[0], store)
    now = sum(store.run(key).finished for key in what.trainings if key not in done)
    result = AblationResult(
        folder=str(store.folder(what.recipe.name, what.key)),
        recipe=what.recipe.name,
        command=command,
        metric=rows[0].metric,
        seeds=rows[0].seeds,
        shared=what.shared,
        notes=what.notes,
        base=rows[0],
        arms=[compare(rows[0], row, resolution) for row in rows[1:]],
        train_runs=len(what.trainings),
        trained_now=now,
        seconds=perf_counter() - start,
    )
    Path(result.folder).mkdir(parents=True, exist_ok=True)
    write_json(Path(result.folder) / "result.json", result.data())
    return result


def _run(what: AblationPlan, store: Store, view: View, jobs: int) -> dict[str, str]:
    """Training key -> why it failed."""
    answers: dict[str, dict[str, Any]] = {}
    for arm in what.arms:
        for (training, answer), recipe in zip(arm.keys, arm.recipes, strict=True):
            if store.scores(training, answer) is None:
                file = store.scores_file(training, answer)
                answers.setdefault(training, {})[str(file)] = answer_tables(recipe)
    (store.root / "scored").mkdir(parents=True, exist_ok=True)
    named = {what.trainings[key][0]: key for key in answers}
    tasks = {name: _task(what, store, key, answers[key]) for name, key in named.items()}
    return {named[name]: error for name, error in execute(tasks, jobs, view).items()}


def _task(what: AblationPlan, store: Store, training: str, answers: dict[str, Any]) -> Task:
    recipe = what.trainings[training][1]
    return Task(str(store.run(training).path), recipe.tables(), str(recipe.source), answers)


def _resolution(base: Arm, store: Store) -> float:
    """What one test image more or less changes in the headline; 0 where nothing is scored."""
    found = next((one for one in (store.scores(*keys) for keys in base.keys) if one), None)
    return one_image(found["headline"], found["scores"]["count"]) if found else 0.0


def _row(arm: Arm, seeds: int, store: Store, errors: dict[str, str], seen: set[str]) -> BaseRow:
    found = [store.scores(*keys) for keys in arm.keys]
    headline = next((one["headline"] for one in found if one), "")
    values = [None if one is None else one["scores"][headline] for one in found] or [None] * seeds
    trainings = [training for training, _ in arm.keys]
    new = [key for key in trainings if key not in seen]
    seen.update(new)
    mean, sd = spread(values)
    failed = [errors[key] for key in trainings if key in errors]
    return BaseRow(
        name=arm.name,
        changes=dict(arm.changes),
        seeds=[recipe.seed for recipe in arm.recipes],
        metric=headline,
        values=values,
        mean=mean,
        sd=sd,
        train_runs=len(new),
        runs=[str(store.run(key).path) for key in trainings],
        error=arm.error or (failed[0] if failed else None),
    )
