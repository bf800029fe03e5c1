"""Ablations from their arms to their table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from addkit.ablation import AblationResult, Store, ablate, plan
from addkit.ablation.ablate import _row
from addkit.ablation.results import StoredScores
from addkit.ablation.worker import Task, execute
from addkit.errors import UsageError
from addkit.evaluation.batches import Evaluator
from addkit.metrics.statistics import paired_interval
from addkit.model import build_data
from addkit.recipe import Recipe, recipe_from_tables

SMALL = ("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16")
WANTED = [
    ("", ("loss.name=weighted-ce",)),
    ("", ("sampling.steps=3", "read_out.name=last")),
    ("", ("sampling.steps=3", "read_out.name=vote")),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("ablations"))


@pytest.fixture(scope="module")
def result(small: Recipe, store: Store, workers_here: Any) -> AblationResult:
    with workers_here() as view:
        return ablate(plan(small, WANTED, seeds=2), store, view)


def test_arms_that_answer_apart_share_their_training(result: AblationResult) -> None:
    assert result.train_runs == result.trained_now == 4
    assert [arm.train_runs for arm in (result.base, *result.arms)] == [2, 2, 0, 0]
    assert result.arms[1].runs == result.base.runs
    assert result.arms[1].values != result.base.values


def test_the_stored_table_is_the_result(result: AblationResult) -> None:
    stored = json.loads((Path(result.folder) / "result.json").read_text("utf-8"))
    assert AblationResult.read(Path(result.folder)) == result
    assert {"base", "arms", "train_runs", "seconds"} <= set(stored)
    agreed = {
        *("changes", "seeds", "metric", "mean", "difference", "low", "high", "verdict"),
        "train_runs",
    }
    assert all(agreed <= set(arm) for arm in stored["arms"])
    assert stored["arms"][0]["overrides"] == {"loss.name": "weighted-ce"}
    assert stored["arms"][0]["changes"] == {"loss.name": "weighted-ce", "loss.normalise": False}


def test_nothing_is_done_twice(
    result: AblationResult, small: Recipe, store: Store, here: None, view: Any
) -> None:
    again = ablate(plan(small, WANTED, seeds=2), store, view)
    assert (again.trained_now, again.train_runs, view.begun) == (0, 4, [])
    assert again.base == result.base
    assert again.arms == result.arms
    more = [*WANTED, ("", ("read_out.name=mean", "sampling.steps=3"))]
    wider = ablate(plan(small, more, seeds=2), store, view)
    assert (wider.trained_now, len(view.begun)) == (0, 2)
    assert wider.arms[:3] == result.arms


def test_another_score_is_another_table_of_the_same_trainings(
    result: AblationResult, small: Recipe, store: Store, here: None, view: Any
) -> None:
    table = ablate(plan(small, WANTED, seeds=2), store, view, metric="nll")
    assert (table.metric, table.trained_now) == ("nll", 0)
    assert table.folder != result.folder
    assert AblationResult.read(Path(result.folder)).metric == result.metric == "top1"
    run = store.run(plan(small, WANTED, seeds=2).arms[0].keys[0][0])
    assert table.base.values[0] == run.manifest().scores["ema"]["nll"]
    with pytest.raises(UsageError, match=r"nl_.*nll"):
        ablate(plan(small, WANTED, seeds=2), store, view, metric="nl_")


def test_values_are_those_of_a_plain_training(result: AblationResult) -> None:
    manifest = json.loads((Path(result.base.runs[0]) / "manifest.json").read_text("utf-8"))
    assert result.base.values[0] == pytest.approx(manifest["scores"]["ema"]["top1"])


def test_differences_count_for_at_least_one_test_image(result: AblationResult) -> None:
    for arm in result.arms:
        reference = {row.name: row for row in (result.base, *result.arms)}[arm.reference]
        pairs = [a - b for a, b in zip(arm.values, reference.values, strict=True)]
        interval = paired_interval(pairs, 100 / 539)
        assert (arm.low, arm.high) == pytest.approx((interval.low, interval.high))


def _stored(store: Store, keys: tuple[str, str], top1: float) -> None:
    file = store.scores_file(*keys)
    file.parent.mkdir(parents=True, exist_ok=True)
    StoredScores(headline="top1", steps=1, scores={"top1": top1, "count": 539}).write(file)


def test_an_arm_is_compared_with_what_answers_alike(
    small: Recipe, tmp_path: Path, view: Any
) -> None:
    what, store = plan(small, [("", ("loss.name=mse-noise",))], seeds=1), Store(tmp_path)
    for arm, top1 in zip(what.arms, (90.0, 80.0, 85.0), strict=True):
        _stored(store, arm.keys[0], top1)
    last, noise = ablate(what, store, view).arms
    # One training of the base has scores under two inference settings.
    assert (last.values, last.reference, last.difference) == ([80], "base", -10)
    assert (noise.values, noise.reference, noise.difference) == ([85], last.name, 5)


def test_the_metric_is_that_of_any_seed_that_did_not_fail(small: Recipe, tmp_path: Path) -> None:
    (arm, *_), store = plan(small, WANTED, seeds=2).arms, Store(tmp_path)
    _stored(store, arm.keys[1], 90.0)
    row = _row(arm, 2, store, {}, set(), "")
    assert (row.metric, row.values, row.mean) == ("top1", [None, 90.0], 90.0)


def test_other_arms_are_another_ablation(small: Recipe) -> None:
    keys = {plan(small, [arm], seeds=1).key for arm in WANTED}
    assert len(keys) == len(WANTED)


def test_steps_of_an_arm_are_chosen_on_the_validation_split(
    small: Recipe, tmp_path: Path, here: None, view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[tuple[int, int]] = []

    def best_steps(self: Evaluator, with_steps: Any, headline: str) -> tuple[int, dict[int, float]]:
        chosen.append((len(self.images), self.seed))
        return 2, {2: 50.0}

    score, seeds = Evaluator.score, set()

    def scored(self: Evaluator, settings: Any) -> Any:
        seeds.add(self.seed)
        return score(self, settings)

    monkeypatch.setattr(Evaluator, "score", scored)
    monkeypatch.setattr(Evaluator, "best_steps", best_steps)
    changes = ["data.validation=0.1", "seed=3"]
    recipe = recipe_from_tables(small.tables(), small.source, overrides=changes)
    images = len(build_data(recipe).split("validation"))
    wanted = [("", ("sampling.steps=auto", "read_out.name=last"))]
    found = ablate(plan(recipe, wanted, seeds=1), Store(tmp_path), view)
    assert chosen == [(images, 3)]
    assert seeds == {3}
    (scores,) = (
        score
        for file in (tmp_path / "scored").iterdir()
        if (score := json.loads(file.read_text("utf-8")))["steps"] == 2
    )
    assert scores["scores"]["top1"] == found.arms[0].values[0]
    assert scores["scores"]["count"] == 539


def test_a_failed_arm_has_an_error_and_the_others_finish(
    small: Recipe, tmp_path: Path, here: None, view: Any
) -> None:
    wanted = [("", ("distributed.per_process_batch=24",)), WANTED[1]]
    result = ablate(plan(small, wanted, seeds=1), Store(tmp_path), view)
    large, steps = result.arms
    assert "batch_size 64 is no multiple" in (large.error or "")
    assert large.verdict == "failed"
    assert list(view.failed) == ["distributed.per_process_batch 24, seed 0"]
    assert steps.mean is not None
    assert result.base.mean is not None
    assert (steps.error, result.base.error) == (None, None)


def test_the_error_of_a_failed_worker_is_its_last_line(tmp_path: Path, view: Any) -> None:
    lost = {name: Task(str(tmp_path / name), {"los": {}}, "x.toml", {}) for name in ("lost", "too")}
    errors = execute(lost, 2, view)
    assert sorted(errors) == view.begun == ["lost", "too"]
    # Both begin before either ends.
    assert view.begun_at_ends == [2, 2]
    first, second, *_ = errors["lost"].split("; ")
    assert first == 'x.toml: unknown table "los" (did you mean "loss"?)'
    assert second == "x.toml: [training] give exactly one of lr and base_lr."
