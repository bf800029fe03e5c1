from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from addkit_paper.claims.stored_results import (
    MissingResultError,
    caption_runs,
    newest_ablation,
    open_results,
)
from made import arm, made_run
from made_results import made_captions, made_stored_results, made_table, noted, with_runs

from addkit.errors import RunError, UsageError


def test_arms_are_found_by_their_changes(tmp_path: Path) -> None:
    results = made_stored_results(
        tmp_path,
        ({"loss.name": "ce"}, (1.0, 2.0, 3.0)),
        ({"loss.name": "ce", "sampling.steps": 1}, (4.0, None, 6.0)),
        ({"sampling.guidance": 1.0}, (7.0, 8.0, 9.0)),
    )
    assert results.values({}) == {0: 80.0, 1: 81.0, 2: 82.0}
    assert results.values({"loss.name": "ce"}) == {0: 1.0, 1: 2.0, 2: 3.0}
    assert results.values({"sampling.steps": 1, "loss.name": "ce"}) == {0: 4.0, 2: 6.0}
    assert results.values({"sampling.guidance": 1}) == {0: 7.0, 1: 8.0, 2: 9.0}


def test_missing_and_failed_arms(tmp_path: Path) -> None:
    results = made_stored_results(tmp_path, arm({"loss.name": "mse"}, [], error="it is nan"))
    with pytest.raises(
        MissingResultError, match=r"^the ablation has no arm `loss.name=ce, a.b=1`$"
    ):
        results.values({"loss.name": "ce", "a.b": 1})
    with pytest.raises(MissingResultError, match=r"^the arm `loss.name=mse` failed: it is nan$"):
        results.values({"loss.name": "mse"})


def test_runs_by_seed(tmp_path: Path) -> None:
    base, mse = with_runs(tmp_path, "base"), with_runs(tmp_path, "mse", loss="mse")
    shutil.rmtree(base[1])
    results = made_stored_results(tmp_path, ({"loss.name": "mse"}, (1.0, 2.0, 3.0), mse), runs=base)
    assert {seed: run.path.name for seed, run in results.base_runs.items()} == {
        0: "base-0",
        2: "base-2",
    }
    assert sorted(results.runs({"loss.name": "mse"})) == [0, 1, 2]


def test_the_newest_table_of_the_recipe_is_taken(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r'recipe "ablation".*`addkit ablate recipes/ablation.toml`'):
        newest_ablation(tmp_path)
    for age, name in enumerate(("ablation-b", "ablation-a", "digits-c", "broken")):
        recipe = "digits" if name.startswith("digits") else "ablation"
        file = made_table(tmp_path / name, recipe=recipe) / "result.json"
        os.utime(file, (100 + age, 100 + age))
    (tmp_path / "broken" / "result.json").write_text("{")
    (tmp_path / "trained").mkdir()
    assert newest_ablation(tmp_path) == tmp_path / "ablation-a"
    assert open_results(None, root=tmp_path).ablation.path == tmp_path / "ablation-a"
    named = open_results(tmp_path / "digits-c", root=tmp_path)
    assert named.ablation.result.recipe == "digits"
    with pytest.raises(RunError, match=r"broken/result.json: cannot be read"):
        open_results(tmp_path / "broken", root=tmp_path)


def test_caption_runs_are_sorted_by_seed(tmp_path: Path) -> None:
    runs = made_captions(tmp_path)
    assert list(caption_runs([runs[2], runs[0], runs[1]])) == [0, 1, 2]
    assert caption_runs([]) == {}


def test_caption_runs_that_cannot_be_used(tmp_path: Path) -> None:
    first, second, third = made_captions(tmp_path)
    with pytest.raises(RunError, match="not a run"):
        caption_runs([tmp_path])
    labels = made_run(tmp_path / "digits")
    with pytest.raises(UsageError, match=r'its task is "classification"'):
        caption_runs([labels])
    again = shutil.copytree(first, tmp_path / "again")
    with pytest.raises(UsageError, match=r"again: .*emoji-0 has the same seed, 0"):
        caption_runs([first, again])
    recipe = second / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 4", "epochs = 9"))
    with pytest.raises(UsageError, match=r"its \[training\] differs from that of .*emoji-0"):
        caption_runs([first, second])
    noted(third, status="training")
    with pytest.raises(RunError, match=r"has not finished.*`addkit train .*emoji-2 --resume`"):
        caption_runs([third])
