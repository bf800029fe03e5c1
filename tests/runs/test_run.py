from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.errors import AddkitWarning, RunError, UsageError
from addkit.model import build_data
from addkit.plugin.registry import HASH
from addkit.recipe import read_recipe
from addkit.runs import Run, folder, newest_run
from addkit.runs.folder import Manifest, begin_in, read_json, sealed


@pytest.fixture
def run(recipes: Path, tmp_path: Path) -> Run:
    """A run that has just been created."""
    recipe = read_recipe(recipes / "digits.toml")
    return Run.create(tmp_path / "run", recipe, build_data(recipe).facts)


def test_a_new_run_has_its_recipe_and_facts(run: Run, recipes: Path) -> None:
    recipe = read_recipe(recipes / "digits.toml")
    assert run.recipe().tables() == recipe.tables()
    assert run.facts() == build_data(recipe).facts
    assert run.recipe_tables() == tomllib.loads((run.path / "recipe.toml").read_text())
    assert (run.manifest(), run.metrics(), run.controls()) == (Manifest(), [], {})
    assert not run.finished
    assert Run.open(run.path) == run
    assert run.checkpoints.is_dir()


def test_the_manifest_of_a_finished_run(digits_run: Path) -> None:
    manifest = Run(digits_run).manifest()
    assert manifest.recipe == "digits"
    assert manifest.seed == 0
    assert manifest.status == "finished"
    assert manifest.steps == 2 * (1258 // 64)
    assert manifest.parameters["total"] > 0
    assert list(manifest.scores) == ["ema", "raw"]
    assert (manifest.seconds or 0) > 0
    for time in (manifest.command_started, manifest.trained, manifest.finished):
        assert time is not None and time.endswith("+00:00")
    environment = manifest.environment
    assert {"addkit", "torch", "timm", "numpy"} <= set(environment.packages)
    assert environment.packages["torch"] is not None
    assert environment.device == "cpu"
    assert environment.components["encoder"].startswith("cnn (addkit ")
    assert environment.python and environment.platform
    assert environment.cores and environment.threads


def test_the_metrics_of_a_finished_run(digits_run: Path) -> None:
    metrics = Run(digits_run).metrics()
    steps = [entry for entry in metrics if "loss" in entry]
    scores = [entry for entry in metrics if "top1" in entry]
    assert [entry["step"] for entry in steps] == list(range(1, 39))
    assert set(steps[0]) >= {
        *("step", "loss", "accuracy", "gradient_norm", "lr", "images", "seconds")
    }
    # The last epoch's is in the manifest.
    assert [(entry["epoch"], entry["split"]) for entry in scores] == [(1, "test")]


def test_a_cut_last_line_is_left_out_and_forgotten(run: Run) -> None:
    for step in (1, 2, 3):
        run.log({"step": step})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert [entry["step"] for entry in run.metrics()] == [1, 2, 3]
    run.forget_after(2)
    run.log({"step": 3, "again": True})
    assert run.metrics() == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_notes_add_up(run: Run) -> None:
    run.note(a=1, status="running")
    run.note(b=[2], status="finished")
    stored = read_json(run.path / "manifest.json")
    assert stored == {"a": 1, "status": "finished", "b": [2]}
    assert run.manifest().model_extra == {"a": 1, "b": [2]}
    assert run.finished


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"scores": 3}', "scores"),
        ('{"scores": {"ema": [1]}}', "scores.ema"),
        ('{"plan": {"steps": "many"}}', "plan.steps"),
        ('{"environment": {"cores": "8"}}', "environment.cores"),
        ('{"status": null, "seed": "x"}', "status: "),
    ],
)
def test_a_manifest_with_a_wrong_type_names_file_and_key(run: Run, text: str, key: str) -> None:
    (run.path / "manifest.json").write_text(text)
    with pytest.raises(RunError) as error:
        run.manifest()
    assert key in str(error.value)
    assert str(error.value).startswith(f"{run.path / 'manifest.json'}: ")
    assert "\n" not in str(error.value)


def test_controls_count_once_they_are_finished(digits_run: Path, tmp_path: Path) -> None:
    assert list(Run(digits_run).controls()) == ["linear", "mlp"]
    run = Run(Path(shutil.copytree(digits_run, tmp_path / "copy")))
    run.control("mlp").note(status="running")
    assert list(run.controls()) == ["linear"]


@pytest.mark.parametrize("name", ["facts.json", "manifest.json", "recipe.toml"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_broken_file_is_named(
    digits_run: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    run = Run(Path(shutil.copytree(digits_run, tmp_path / "copy")))
    (run.path / name).write_bytes(content)
    read = {"facts.json": run.facts, "manifest.json": run.manifest, "recipe.toml": run.recipe}
    with pytest.raises(RunError, match=f"{name}: "):
        read[name]()


def test_facts_that_lack_something_are_named(run: Run) -> None:
    (run.path / "facts.json").write_text('{"num_classes": 3}')
    with pytest.raises(RunError, match=r"facts\.json: cannot be used: class_names: Field required"):
        run.facts()
    (run.path / "facts.json").unlink()
    with pytest.raises(RunError, match=r"facts\.json: cannot be read: "):
        run.facts()


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run \(it has no recipe\.toml\)"):
        Run.open(tmp_path)


def _run(root: Path, name: str, recipe: str, age: float, status: str | None) -> Run:
    """A run of that recipe whose manifest (or recipe) is `age` seconds old."""
    run = Run(root / name)
    run.path.mkdir(parents=True)
    (run.path / "recipe.toml").write_text(f'name = "{recipe}"\n')
    touched = run.path / "recipe.toml"
    if status is not None:
        touched = run.path / "manifest.json"
        touched.write_text(json.dumps({"status": status}))
    os.utime(touched, (2e9 - age, 2e9 - age))
    return run


def test_the_newest_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run in "):
        newest_run(tmp_path)
    _run(tmp_path, "z-old", "a", 9, "finished")
    new = _run(tmp_path, "b-new", "a", 5, "finished")
    other = _run(tmp_path, "other", "b", 7, "finished")
    running = _run(tmp_path, "running", "a", 1, "running")
    begun = _run(tmp_path, "begun", "b", 2, None)
    (tmp_path / "empty").mkdir()
    assert newest_run(tmp_path) == new
    assert newest_run(tmp_path, recipe="b") == other
    assert newest_run(tmp_path, finished=False) == running
    assert newest_run(tmp_path, finished=False, recipe="b") == begun
    with pytest.raises(RunError, match=r"no unfinished run of recipe c in .*--run-dir"):
        newest_run(tmp_path, finished=False, recipe="c")


def test_a_broken_run_among_others_is_named(tmp_path: Path) -> None:
    _run(tmp_path, "good", "a", 9, "running")
    (_run(tmp_path, "bad", "a", 5, "running").path / "recipe.toml").write_text("name = ")
    # The newest one cannot be read: it is named, and the one before is taken.
    with pytest.warns(AddkitWarning, match=r"left out: .*bad/recipe\.toml: cannot be read"):
        assert newest_run(tmp_path, finished=False, recipe="a").path.name == "good"
    (tmp_path / "bad" / "manifest.json").write_text('{"status": 3}')
    os.utime(tmp_path / "bad" / "manifest.json", (2e9, 2e9))
    with pytest.warns(AddkitWarning, match=r"bad/manifest\.json: .*status"):
        assert newest_run(tmp_path, finished=False).path.name == "good"
    with (
        pytest.warns(AddkitWarning, match=r"bad/manifest\.json: .*status"),
        pytest.raises(RunError, match="no finished run"),
    ):
        newest_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "read"),
    [("manifest.json", Run.manifest), ("facts.json", Run.facts), ("recipe.toml", Run.recipe)],
)
def test_one_changed_letter_is_noticed(
    digits_run: Path, tmp_path: Path, name: str, read: Callable[[Run], object]
) -> None:
    run = Run(Path(shutil.copytree(digits_run, tmp_path / "copy")))
    text = (run.path / name).read_text()
    (run.path / name).write_text(text.replace("digits", "dibits", 1).replace('"0"', '"8"', 1))
    with pytest.warns(AddkitWarning, match=f"{name}: altered: "):
        read(run)
    if name == "recipe.toml":
        # A truncated one may still be valid, and would get defaults for what it lacks.
        (run.path / name).write_text(text[: text.rindex("\n[")])
        with pytest.warns(AddkitWarning, match=f"{name}: altered: "):
            read(run)
        # Without its checksum it is taken as it is.
        (run.path / name).write_text(text.partition("\n")[2])
        read(run)


def test_a_manifest_that_is_lost_is_missed_once_training_has_begun(run: Run) -> None:
    assert run.manifest().status == "not begun"
    run.begin()
    run.log({"step": 1})
    assert run.manifest().status == "not begun"
    (run.path / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"manifest\.json: .*--resume"):
        run.manifest()


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe{", b"3", b"{}", b'{"step": "1"}', b'{"step": 1, "loss": "x"}',
     b'{"step": 1, "parts": 3}', b'{"step": 1, "top1": []}'],
)  # fmt: skip
def test_a_damaged_line_of_metrics_is_left_out_and_kept(run: Run, line: bytes) -> None:
    file = run.path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n{"step": 3, "lo')
    with pytest.warns(AddkitWarning, match=r"metrics\.jsonl: line 2 "):
        assert run.metrics() == [{"step": 1}, {"step": 2}]
    run.forget_after(1)
    assert file.read_bytes() == b'{"step": 1}\n' + line + b"\n"


def test_metrics_that_are_no_file(run: Run) -> None:
    (run.path / "metrics.jsonl").mkdir()
    for read in (run.metrics, lambda: run.forget_after(1)):
        with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read"):
            read()


def test_metrics_that_have_changed_since_the_end(digits_run: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(digits_run, tmp_path / "copy")))
    for each in (run, run.control("mlp")):
        whole = each.metrics()
        text = (each.path / "metrics.jsonl").read_text()
        (each.path / "metrics.jsonl").write_text(text[: text[:-1].rindex("\n") + 1])
        with pytest.warns(AddkitWarning, match=r"metrics\.jsonl: altered since"):
            assert each.metrics() == whole[:-1]


def test_a_whole_last_line_that_is_damaged_is_kept(run: Run) -> None:
    run.log({"step": 1, "loss": 1.0})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": \xff}\n')
    with pytest.warns(AddkitWarning):
        assert len(run.metrics()) == 1
    run.forget_after(1)
    assert (run.path / "metrics.jsonl").read_bytes().count(b"\n") == 2


def test_a_checksum_is_that_of_the_values_in_any_order() -> None:
    one, two = sealed({"a": 1, "b": {"c": 2, "d": 3}}), sealed({"b": {"d": 3, "c": 2}, "a": 1})
    assert one == two
    assert one != sealed({"a": 1, "b": {"c": 2, "d": 4}})


def test_a_control_without_a_manifest_has_a_name_of_its_own(run: Run, recipes: Path) -> None:
    recipe = read_recipe(recipes / "digits.toml")
    control = Run.create(run.control("linear").path, recipe, run.facts())
    assert control.model_name == "control, linear"
    assert run.model_name != control.model_name


def test_a_folder_without_a_recipe_is_no_run_yet(
    run: Run, recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kill after the first file: without the facts nothing could resume the run.
    written: list[str] = []
    monkeypatch.setattr(Run, "_write", lambda self, name, text: written.append(name))
    Run.create(tmp_path / "new", read_recipe(recipes / "digits.toml"), run.facts())
    assert written == ["facts.json", "recipe.toml"]


def test_changed_code_counts_where_it_changes_the_result(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identities(code: str) -> dict[str, str]:
        return dict.fromkeys(("encoder", "tracker"), f"a (b 1{HASH}{code})")

    run.note(environment={"components": identities("old")})
    now = identities("new")
    monkeypatch.setattr(
        folder, "third_parties", lambda names: {k: now[k] for k in names if k in now}
    )
    recipe = run.recipe()
    assert "tracker" in recipe.choices
    (line,) = run.changed_plugins(recipe)
    assert line.startswith("encoder ")


def test_a_folder_of_another_s_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError):
        begin_in(tmp_path)
    assert begin_in(tmp_path / "new")
