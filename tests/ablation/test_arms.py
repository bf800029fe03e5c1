"""Which arms an ablation has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from addkit.ablation import Axis, arms, arms_of, combinations, plan
from addkit.ablation.arms import matched_base, name_of
from addkit.ablation.results import fingerprint, inference_key, training_key
from addkit.errors import RecipeError, UsageError
from addkit.model import build_data, build_network
from addkit.plugin import load_registry
from addkit.plugin.spec import KINDS
from addkit.recipe import Recipe, read_recipe, recipe_from_tables
from addkit.recipe.differences import flat
from addkit.recipe.files import known_recipes

LOSS = Axis("loss.name", ("ce", "mse"))
GUIDANCE = Axis("sampling.guidance", ("1", "1.5", "2"))


def _changed(recipe: Recipe, *overrides: str) -> Recipe:
    return recipe_from_tables(recipe.tables(), recipe.source, overrides=overrides)


def test_one_at_a_time_and_grid() -> None:
    assert combinations([LOSS, GUIDANCE], grid=False) == [
        ("loss.name=ce",),
        ("loss.name=mse",),
        ("sampling.guidance=1",),
        ("sampling.guidance=1.5",),
        ("sampling.guidance=2",),
    ]
    grid = combinations([LOSS, GUIDANCE], grid=True)
    assert len(set(grid)) == 6
    # The last axis varies fastest.
    assert grid[:2] == [
        ("loss.name=ce", "sampling.guidance=1"),
        ("loss.name=ce", "sampling.guidance=1.5"),
    ]
    assert grid[-1] == ("loss.name=mse", "sampling.guidance=2")


def test_an_axis_twice() -> None:
    with pytest.raises(UsageError, match=r"loss\.name is an axis twice; give all its values"):
        combinations([LOSS, LOSS], grid=False)


def test_names_of_arms() -> None:
    assert name_of(["loss.name=mse"]) == "loss mse"
    assert name_of(["loss.name=mse", "sampling.guidance=1.5"]) == "loss mse, guidance 1.5"
    assert name_of(["schedule.scale=2"]) == "schedule.scale 2"
    assert name_of(["denoiser.bayes_skip=false"]) == "denoiser.bayes_skip false"


def test_each_arm_has_the_same_seeds_and_its_own_change(small: Recipe) -> None:
    base, mse = arms_of(small, [("", ("loss.name=weighted-ce",))], [], 3)
    assert [one.seed for one in base.recipes] == [one.seed for one in mse.recipes] == [0, 1, 2]
    assert mse.changes == {"loss.name": "weighted-ce", "loss.normalise": False}
    for ours, theirs in zip(base.recipes, mse.recipes, strict=True):
        apart = {k for k, v in ours.tables().items() if theirs.tables()[k] != v}
        assert apart == {"loss"}
        assert ours.control.heads == ()
    for arm in arms_of(_changed(small, "seed=5"), [("", ("loss.name=weighted-ce",))], [], 2):
        assert [one.seed for one in arm.recipes] == [5, 6]


def _resolved(recipe: Recipe) -> dict[str, object]:
    tables = {k: v for k, v in recipe.tables().items() if isinstance(v, dict)}
    return {
        f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()
    }


@pytest.mark.parametrize("name", sorted(known_recipes()))
def test_every_key_that_differs_is_in_the_changes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms, "build_data", lambda recipe: SimpleNamespace(facts=None))
    registry, recipe = load_registry(), read_recipe(Path(name))
    wanted = [
        ("", (f"{kind.kind}.name={each}",))
        for kind in KINDS
        if kind.kind not in ("task", "data", "tracker")
        for each in registry.names(kind.kind)
    ]
    made = {arm.name: arm for arm in arms_of(recipe, wanted, [], 1)}
    valid = [arm for arm in made.values() if arm.recipes and arm.name != "base"]
    assert len(valid) > 3
    for arm in valid:
        base, other = (_resolved(each.recipes[0]) for each in (made[arm.reference], arm))
        keys = {key for key in base | other if base.get(key) != other.get(key)}
        assert keys == set(arm.changes), arm.name
        # A key that the recipe writes and both components have keeps its value.
        tables = {k: v for k, v in recipe.written.items() if isinstance(v, dict)}
        written = {f"{table}.{k}" for table, values in tables.items() for k in values}
        changed = {key for key in keys & written if key in base and key in other}
        assert {key.split(".")[1] for key in changed} <= {"name"}, arm.name


def test_what_is_asked_for_and_is_so_already_is_no_override(small: Recipe) -> None:
    same = f"sampling.steps={small.tables()['sampling']['steps']}"
    *_, arm = arms_of(small, [("", (same, "sampling.guidance=3"))], [], 1)
    assert arm.overrides == arm.changes == {"sampling.guidance": 3}


def test_arms_that_are_the_base_or_each_other_are_shown_once(small: Recipe) -> None:
    wanted = [("", ("loss.name=ce",)), ("a", ("sampling.steps=5",)), ("b", ("sampling.steps=5",))]
    assert [arm.name for arm in arms_of(small, wanted, [], 1)] == ["base", "a"]
    with pytest.raises(UsageError, match="nothing to compare: every arm is the recipe itself"):
        plan(small, [("", ("loss.name=ce",))])


def test_what_an_arm_needs_to_be_trained_every_arm_gets(small: Recipe) -> None:
    base, shared = matched_base(small, [("loss.name=mse",), ("loss.name=weighted-ce",)])
    assert shared == ["denoiser.bayes_skip=false"]
    assert base.tables()["denoiser"]["bayes_skip"] is False
    assert small.tables()["denoiser"]["bayes_skip"] is True
    untouched, shared = matched_base(small, [("loss.name=mse", "denoiser.bayes_skip=false")])
    assert (untouched.tables()["denoiser"]["bayes_skip"], shared) == (True, [])
    # A base that has it already is not changed.
    assert matched_base(base, [("loss.name=mse",)])[1] == []


def test_what_an_arm_needs_to_answer_it_gets_alone(small: Recipe) -> None:
    what = plan(small, [("", ("loss.name=mse-noise",))], seeds=1)
    base, alike, noise = what.arms
    assert what.shared == ["denoiser.bayes_skip=false"]
    assert base.recipes[0].choices["read_out"].name == "one-pass"
    assert noise.recipes[0].choices["read_out"].name == "last"
    assert (alike.name, alike.changes) == ("base, read_out last", {"read_out.name": "last"})
    assert (noise.name, noise.reference) == ("loss mse-noise", alike.name)
    assert noise.changes == {
        "loss.name": "mse-noise",
        "loss.label_smoothing": None,
        "loss.class_weights": None,
    }
    # The base is scored twice and trained once.
    assert alike.keys[0][0] == base.keys[0][0]


def test_values_that_make_no_recipe_are_refused_together(small: Recipe) -> None:
    wanted = [("", ("loss.name=mes",)), ("", ("loss.nmae=ce",)), ("", ("loss.name=mse",))]
    with pytest.raises(UsageError) as caught:
        plan(small, wanted, seeds=1)
    first, second = str(caught.value).splitlines()
    assert 'did you mean "mse"?' in first
    assert "nmae" in second
    with pytest.raises(RecipeError, match=r"an override is written table\.key=value"):
        plan(small, [("", ("seed",))], seeds=1)


def test_an_invalid_combination_has_an_error_and_the_others_remain(small: Recipe) -> None:
    skip = Axis("denoiser.bayes_skip", ("true", "false"))
    pairs = combinations([Axis("loss.name", ("mse", "weighted-ce")), skip], grid=True)
    what = plan(small, [("", overrides) for overrides in pairs], seeds=1)
    errors = {arm.name: arm.error for arm in what.arms}
    assert "bayes_skip" in (errors.pop("loss mse, denoiser.bayes_skip true") or "")
    assert set(errors.values()) == {None}
    assert len(what.trainings) == len(errors)


def test_a_control_of_another_task(small: Recipe) -> None:
    text = r'--controls "linaer": no control of the task "classification" \(did you mean "linear"'
    with pytest.raises(UsageError, match=text):
        plan(small, [], controls=["linaer"])


def test_a_loop_that_the_read_out_does_not_run_gets_a_note(small: Recipe) -> None:
    vain = plan(small, [("", ("sampling.steps=5",))], seeds=1)
    assert vain.notes == [
        "steps 5: the read-out answers in one pass, whatever the steps; add --read-out last to see "
        "the loop"
    ]
    assert plan(small, [("", ("sampling.steps=5", "read_out.name=last"))], seeds=1).notes == []


def test_controls_are_arms(small: Recipe) -> None:
    *_, control = arms_of(small, [], ["linear"], 2)
    assert control.name == "control, linear"
    assert control.changes["denoiser.name"] == "control"
    assert control.changes["denoiser.bayes_skip"] is None
    assert [one.choices["denoiser"].name for one in control.recipes] == ["control"] * 2
    assert [one.seed for one in control.recipes] == [0, 1]


def test_the_needs_of_every_component_are_settings_that_satisfy_it(
    small: Recipe, recipes: Path
) -> None:
    registry = load_registry()
    tags = read_recipe(recipes / "tags.toml", ["denoiser.bayes_skip=true"])
    for kind in (one.kind for one in KINDS):
        for name in registry.names(kind):
            spec = registry.get(kind, name).spec
            if spec.needs:
                changes = [f"{key}={str(v).lower()}" for key, v in spec.needs.items()]
                # The asymmetric loss is for tags, which digits have not.
                base = tags if name == "asymmetric" else small
                with pytest.raises(RecipeError):
                    _changed(base, f"{kind}.name={name}")
                assert _changed(base, f"{kind}.name={name}", *changes)


def test_inference_settings_do_not_change_the_training_key(small: Recipe) -> None:
    telling = ("name=x", "tracker.name=tensorboard")
    for change in ("sampling.steps=5", "to_one.name=softmax", "read_out.name=last", *telling):
        other = _changed(small, change)
        assert training_key(other) == training_key(small)
        assert (inference_key(other) == inference_key(small)) == (change in telling)
    for change in ("seed=1", "loss.name=weighted-ce", "training.epochs=2", "encoder.widths=[8]"):
        other = _changed(small, change)
        assert training_key(other) != training_key(small)
        assert inference_key(other) == inference_key(small)


def test_every_key_changes_the_training_the_inference_or_neither(small: Recipe) -> None:
    """Arms that differ in a key of training must not share one."""
    tables = small.tables()
    inference = {"to_one", "sampler", "read_out", "sampling"}
    neither = {"name", "summary", "control", "ablation", "checkpoints", "tracker"}
    assert inference | neither <= {*tables, "ablation", "summary"}
    plain = SimpleNamespace(tables=lambda: tables, choices=small.choices)
    keys = training_key(plain), inference_key(plain)
    assert keys == (training_key(small), inference_key(small))
    for key in flat(tables):
        table, _, name = key.partition(".")
        value = {**tables[table], name: "another"} if name else "another"
        changed = {**tables, table: value}
        other = SimpleNamespace(tables=lambda changed=changed: changed, choices=small.choices)
        moved = training_key(other) != keys[0], inference_key(other) != keys[1]
        assert moved == (table not in inference | neither, table in inference), key


def test_another_version_of_addkit_trains_anew(
    small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = training_key(small), inference_key(small)
    monkeypatch.setattr("addkit.ablation.results.__version__", "0.0.0")
    assert training_key(small) != before[0]
    assert inference_key(small) != before[1]


def test_changed_code_of_a_plugin_trains_anew_what_it_is_in(
    small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = training_key(small), inference_key(small)

    def third_parties(names: dict[str, str]) -> dict[str, str]:
        return {kind: "mine, of another hash" for kind in names if kind == "loss"}

    monkeypatch.setattr("addkit.ablation.results.third_parties", third_parties)
    assert training_key(small) != before[0]
    assert inference_key(small) == before[1]


def test_fingerprints_ignore_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_arms_of_a_recipe(small: Recipe) -> None:
    text = 'two arms are named "a"'
    tables = small.tables()
    tables["ablation"] = {"seeds": 2, "arms": [{"name": "a"}, {"name": "a"}]}
    with pytest.raises(RecipeError, match=text):
        recipe_from_tables(tables, small.source)
    tables["ablation"]["arms"][1]["name"] = "b"
    read = recipe_from_tables(tables, small.source)
    assert [arm.name for arm in read.ablation.arms] == ["a", "b"]
    assert read.ablation.seeds == 2
    assert replace(read, ablation=small.ablation).tables() == small.tables()


def test_the_shipped_ablation_can_be_planned(small: Recipe) -> None:
    recipe = read_recipe(small.source.parent / "ablation.toml", ['data={name="digits"}'])
    assert len(recipe.ablation.arms) >= 8
    wanted = [(arm.name, arm.changes) for arm in recipe.ablation.arms]
    what = plan(recipe, wanted, controls=recipe.ablation.controls, seeds=1)
    assert [arm.name for arm in what.arms if arm.error] == []
    assert len(what.trainings) < len(what.arms)


@pytest.mark.parametrize(
    "change",
    ["loss.name=mse", "embedding.name=linear", "schedule.name=label-accuracy", "denoiser.width=32"],
)
def test_arms_begin_with_the_same_encoder(small: Recipe, change: str) -> None:
    facts = build_data(small).facts
    what = plan(small, [("", (change,))], seeds=1)
    ours, theirs = (build_network(arm.recipes[0], facts).encoder.state_dict() for arm in what.arms)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
