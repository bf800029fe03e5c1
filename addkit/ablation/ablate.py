"""An ablation from its recipe to its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from addkit.ablation.arms import Arm, arms_of, matched_base
from addkit.ablation.compare import BaseRow, Row, compare, spread
from addkit.ablation.execute import View, execute
from addkit.ablation.keys import answer_tables, fingerprint
from addkit.ablation.store import Store
from addkit.ablation.worker import Task
from addkit.errors import UsageError
from addkit.model import build_data
from addkit.recipe import Recipe
from addkit.runs.atomic import write_json
from addkit.training.checks import check_training

__all__ = ["AblationPlan", "AblationResult", "ablate", "plan"]


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """What an ablation will compare."""

    recipe: Recipe
    arms: list[Arm]
    """The base first."""
    shared: list[str]
    """Overrides that every arm got, the base too, since one of them needs it."""

    @property
    def trainings(self) -> dict[str, tuple[str, Recipe]]:
        """Training key -> (name to show, recipe), each once, in the order of the arms."""
        found: dict[str, tuple[str, Recipe]] = {}
        for arm in self.arms:
            for (training, _), recipe in zip(arm.keys, arm.recipes, strict=True):
                found.setdefault(training, (f"{arm.name}, seed {recipe.seed}", recipe))
        return found

    @property
    def key(self) -> str:
        """Names the ablation: the same arms of the same recipe."""
        return fingerprint({"arms": [[arm.name, arm.keys, arm.error] for arm in self.arms]})


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationResult:
    """What `addkit ablate` prints and stores as result.json."""

    folder: str
    recipe: str
    metric: str
    seeds: list[int]
    shared: list[str]
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


def plan(
    recipe: Recipe,
    wanted: Sequence[tuple[str, tuple[str, ...]]],
    *,
    controls: Sequence[str] = (),
    seeds: int = 3,
) -> AblationPlan:
    """The arms of an ablation; see `arms_of`.

    Raises:
        UsageError: nothing would be compared.
    """
    base, shared = matched_base(recipe, [overrides for _, overrides in wanted])
    arms = arms_of(base, wanted, controls, seeds)
    if len(arms) < 2:
        raise UsageError(
            f"{recipe.source}: nothing to compare: every arm is the recipe itself; name another "
            "value, such as --loss mse"
        )
    return AblationPlan(base, arms, shared)


def ablate(what: AblationPlan, store: Store, view: View, *, jobs: int = 1) -> AblationResult:
    """Train and score what is not yet in the store, and compare.

    The table is written to the ablation's folder. Stopped at any time, the same call goes on.
    """
    start = perf_counter()
    done = {key for key in what.trainings if store.run(key).finished}
    errors = _run(what, store, view, jobs)
    seen: set[str] = set()
    seeds = len(what.arms[0].recipes)
    rows = [_row(arm, seeds, store, errors, seen) for arm in what.arms]
    now = sum(store.run(key).finished for key in what.trainings if key not in done)
    result = AblationResult(
        folder=str(store.folder(what.recipe.name, what.key)),
        recipe=what.recipe.name,
        metric=rows[0].metric,
        seeds=rows[0].seeds,
        shared=what.shared,
        base=rows[0],
        arms=[compare(rows[0], row) for row in rows[1:]],
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
    named = {what.trainings[key][0]: key for key in answers}
    (store.root / "scored").mkdir(parents=True, exist_ok=True)
    tasks, errors = {}, {}
    for name, key in named.items():
        try:
            _prepare(store, key, what.trainings[key][1])
        except Exception as error:
            errors[key] = str(error)
            continue
        tasks[name] = Task(str(store.run(key).path), answers[key])
    return {**errors, **{named[n]: e for n, e in execute(tasks, jobs, view).items()}}


def _prepare(store: Store, training: str, recipe: Recipe) -> None:
    run = store.run(training)
    if not (run.path / "recipe.toml").exists():
        facts = build_data(recipe).facts
        check_training(recipe, facts)
        run.create(run.path, recipe, facts)


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
