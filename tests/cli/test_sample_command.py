from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from addkit.runs import Run
from addkit.runs.folder import read_json

Cli = Callable[..., Any]


def test_json_is_a_list_with_the_agreed_keys(
    addkit: Cli, digits_run: Path, digit_images: list[Path]
) -> None:
    result = addkit("sample", *digit_images, "--run", digits_run, "--json", "--steps", "4")
    assert (result.code, result.err) == (0, "")
    entries = result.json
    assert [entry["image"] for entry in entries] == [str(path) for path in digit_images]
    for entry in entries:
        assert {"image", "labels", "steps"} <= set(entry)
        assert entry["steps"] == 1
        assert len(entry["labels"]) == 5
        assert set(entry["labels"][0]) == {"name", "probability", "votes"}
        values = [label["probability"] for label in entry["labels"]]
        assert values == sorted(values, reverse=True)
        assert (entry["guidance"], entry["chains"], entry["read_out"]) == (1.0, 1, "one-pass")
        # One pass made the probabilities, and a chain of four steps the votes.
        assert (entry["sampler"], entry["to_one"]) == (None, None)
        votes = {"steps": 4, "chains": 1, "sampler": "renoise", "to_one": "argmax"}
        assert votes.items() <= entry["votes_by"].items()


def test_a_class_is_its_place_in_the_runs_list_of_names(
    addkit: Cli, digits_run: Path, worded_run: Path, digit_images: list[Path]
) -> None:
    numbers, words = (
        addkit("sample", *digit_images, "--run", run, "--json", "--top", 10).json
        for run in (digits_run, worded_run)
    )
    names = Run(worded_run).facts().class_names
    assert list(names) != sorted(names)
    for plain, named in zip(numbers, words, strict=True):
        renamed = [{**label, "name": names[int(label["name"])]} for label in plain["labels"]]
        assert named["labels"] == renamed
    first = addkit("sample", digit_images[0], "--run", worded_run).out
    assert words[0]["labels"][0]["name"] in first.splitlines()[1]


def test_json_lines(addkit: Cli, digits_run: Path, digit_images: list[Path]) -> None:
    words = ["sample", *digit_images, "--run", digits_run]
    lines = addkit(*words, "--jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == addkit(*words, "--json").json


def test_top_and_seed(addkit: Cli, digits_run: Path, digit_images: list[Path]) -> None:
    words = ["sample", digit_images[0], "--run", digits_run, "--json"]
    words += ["--read-out", "last", "--sampler", "gibbs", "--chains", "5", "--steps", "3"]
    one = addkit(*words, "--top", "10", "--seed", "7")
    assert len(one.json[0]["labels"]) == 10
    assert sum(label["votes"] for label in one.json[0]["labels"]) == pytest.approx(1)
    assert addkit(*words, "--top", "10", "--seed", "7").out == one.out
    assert addkit(*words, "--top", "10", "--seed", "8").out != one.out
    assert len(addkit(*words, "--top", "99").json[0]["labels"]) == 10
    assert len(addkit(*words, "--top", "1").json[0]["labels"]) == 1


def test_a_folder_is_replaced_by_its_images(
    addkit: Cli, digits_run: Path, digit_images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    shutil.copy(digit_images[0], tmp_path / "in" / "b.png")
    shutil.copy(digit_images[1], tmp_path / "in" / "deep" / "a.PNG")
    (tmp_path / "in" / "notes.txt").write_text("x")
    result = addkit("sample", "in", digit_images[2], "--run", digits_run, "--json")
    names = [entry["image"] for entry in result.json]
    assert names == ["in/b.png", "in/deep/a.PNG", str(digit_images[2])]


def test_standard_input(addkit: Cli, digits_run: Path, digit_images: list[Path]) -> None:
    words = ["--run", digits_run, "--json", "--trace", "t.png"]
    result = addkit("sample", "-", *words, stdin=digit_images[0].read_bytes())
    assert (result.code, result.json[0]["image"]) == (0, "-")
    file = addkit("sample", digit_images[0], "--run", digits_run, "--json")
    assert result.json[0]["labels"] == file.json[0]["labels"]
    assert Path("t.png").is_file()
    result = addkit("sample", "-", "--run", digits_run)
    assert (result.code, result.err) == (1, "error: standard input: empty file\n")


def test_an_empty_name_is_not_the_working_directory(
    addkit: Cli, digits_run: Path, digit_images: list[Path]
) -> None:
    Path("x.png").write_bytes(digit_images[0].read_bytes())
    result = addkit("sample", "", "--run", digits_run)
    assert (result.code, result.err) == (1, 'error: "": an empty name; give a file or a folder\n')


def test_files_that_are_no_images_are_named(
    addkit: Cli, digits_run: Path, digit_images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    result = addkit("sample", digit_images[0], "notes.txt", "--run", digits_run, "--json")
    assert (result.code, result.json[0]["image"]) == (1, str(digit_images[0]))
    assert result.json[1].keys() == {"image", "error"}
    assert result.err.startswith("error: notes.txt: no image in a format that is read")
    cut = tmp_path / "cut.png"
    cut.write_bytes(digit_images[0].read_bytes()[:60])
    result = addkit("sample", "cut.png", "--run", digits_run)
    assert result.code == 1
    assert result.err.startswith("error: cut.png: cut short or broken")


def test_missing_files_are_guessed(
    addkit: Cli, digits_run: Path, digit_images: list[Path], tmp_path: Path
) -> None:
    shutil.copy(digit_images[0], tmp_path / "seven.png")
    result = addkit("sample", "sevn.png", "--run", digits_run)
    assert (result.code, result.err) == (
        1,
        'error: sevn.png: no such file or folder (did you mean "seven.png"?)\n',
    )
    assert addkit("sample", "no/where.png", "--run", digits_run).code == 1
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    result = addkit("sample", "empty", "--run", digits_run)
    assert result.code == 1
    left_out, error = result.err.splitlines()
    assert error.startswith("error: empty: no image in this folder")
    assert "empty/notes.txt" in left_out
    # Read, since no other file can be meant.
    result = addkit("sample", "Seven", "--run", digits_run, "--json")
    assert (result.code, len(result.json)) == (0, 1)
    assert "missing ending" in result.err


def test_without_a_run_the_newest_finished_one_is_taken(
    addkit: Cli, digits_run: Path, digit_images: list[Path], tmp_path: Path
) -> None:
    result = addkit("sample", digit_images[0], "--json")
    assert result.code == 1
    assert result.err.startswith("error: no finished run in runs/; train one with")
    for name, age in (("old", 100), ("new", 50), ("newest-but-unfinished", 1)):
        run = Path(shutil.copytree(digits_run, tmp_path / "runs" / name))
        manifest = run / "manifest.json"
        if "unfinished" in name:
            Run(run).note(status="running")
        time = 1.9e9 - age
        os.utime(manifest, (time, time))
    result = addkit("sample", digit_images[0], "--json")
    assert result.err == "run: runs/new (the newest finished one; --run names another)\n"
    assert len(result.json) == 1


def test_a_run_that_is_none(addkit: Cli, digit_images: list[Path], tmp_path: Path) -> None:
    result = addkit("sample", digit_images[0], "--run", "nothing")
    entries = "error: nothing: no such run folder; `addkit runs list` lists those in runs/\n"
    assert (result.code, result.err) == (1, entries)
    result = addkit("sample", digit_images[0], "--run", tmp_path)
    assert result.err == f"error: {tmp_path}: not a run (it has no recipe.toml)\n"


def test_a_checkpoint_is_as_good_as_a_run(
    addkit: Cli, digits_run: Path, digit_images: list[Path]
) -> None:
    last = digits_run / "checkpoints" / "step-00000038"
    words = ["sample", digit_images[0], "--json", "--run"]
    assert addkit(*words, last).json == addkit(*words, digits_run).json
    raw = addkit(*words, digits_run, "--weights", "raw")
    assert raw.json != addkit(*words, digits_run).json
    bad = addkit(*words, digits_run, "--weights", "best")
    assert (bad.code, bad.err) == (2, 'error: weights "best"; known: ema, raw\n')


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--sampler", "renose"], ('sampler is called "renose"', '"renoise"', "ancestral, beam")),
        (["--read-out", "lst"], ('read_out is called "lst"', '"last"', "consensus, last")),
        (["--to-one", "max"], ('to_one is called "max"', '"argmax"', "argmax, sample, softmax")),
        (["--trace", "a.xyz"], ("--trace a.xyz", ".png, .svg")),
        (["--given", "dark"], ("dark", "classification", "one label")),
        (["--template", "a _"], ("template", "classification", "one label")),
        (["--sampler", "beam"], ('"beam"', '"gaussian"', "ancestral, ddim, gibbs")),
        (["--trace", "no/a.png"], ("--trace no/a.png", "no folder no")),
    ],
)
def test_invalid_options_are_named_with_what_is_allowed(
    addkit: Cli,
    digits_run: Path,
    digit_images: list[Path],
    words: list[str],
    parts: tuple[str, ...],
) -> None:
    result = addkit("sample", digit_images[0], "--run", digits_run, "--json", *words)
    assert (result.code, result.out) == (2, "")
    assert all(part in result.err for part in parts), result.err
    assert list(Path().iterdir()) == []


def test_a_trace_is_a_picture(addkit: Cli, digits_run: Path, digit_images: list[Path]) -> None:
    words = ["sample", *digit_images * 4, "--run", digits_run, "--json", "--steps", "5"]
    result = addkit(*words, "--trace", "t.png")
    assert result.err == "trace: t.png (the first 8 images)\n"
    assert len(result.json) == 12
    with Image.open("t.png") as image:
        image.load()
        assert image.height > 1000
    result = addkit("sample", digit_images[0], "--run", digits_run, "--trace", "one.svg")
    assert result.err == "trace: one.svg\n"
    assert "svg" in Path("one.svg").read_text()


def test_a_table_for_people(addkit: Cli, digits_run: Path, digit_images: list[Path]) -> None:
    words = ["sample", *digit_images, "--run", digits_run, "--top", "2"]
    result = addkit(*words)
    lines = result.out.splitlines()
    assert lines[0].split() == ["image", "class", "probability", "%"]
    assert [line.split()[0] for line in lines[1:7:2]] == [str(path) for path in digit_images]
    assert lines[-1] == "probability: read-out one-pass, one pass at t = T"
    result = addkit(*words, "--chains", "3", "--steps", "2")
    assert result.out.splitlines()[0].split()[-2:] == ["votes", "%"]
    assert result.out.splitlines()[-1] == (
        "probability: read-out one-pass, one pass at t = T; "
        "votes: 3 chains of 2 steps (renoise, argmax, w 1)"
    )
    result = addkit(*words, "--read-out", "vote", "--sampler", "gibbs", "--guidance", "1.5")
    assert result.out.splitlines()[-1] == (
        "probability: read-out vote of 1 chain of 20 steps (gibbs, sample, w 1.5)"
    )


def test_names_are_shown_as_they_are(
    addkit: Cli, digits_run: Path, digit_images: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / "a [bold]b[red] [x].png"
    shutil.copy(digit_images[0], odd)
    run = Path(shutil.copytree(digits_run, tmp_path / "[red]run"))
    facts = run / "facts.json"
    stored = read_json(facts)
    stored["class_names"] = [f"[link]{name}" for name in stored["class_names"]]
    facts.write_text(json.dumps(stored))
    result = addkit("sample", odd.name, "--run", run)
    assert result.code == 0
    assert odd.name in result.out
    assert "[link]" in result.out
    result = addkit("train", run / "recipe.toml", "--run-dir", run, "--resume")
    assert result.code == 0
    assert f"run: {run}" in result.err
    assert f"addkit evaluate --run '{run}'" in result.err


def test_warnings_are_lines(addkit: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from addkit.errors import AddkitWarning

    def odd(*_: object, **__: object) -> None:
        warnings.warn("this is [odd]", AddkitWarning, stacklevel=1)
        raise SystemExit(0)

    monkeypatch.setattr("addkit.cli.sample.find_images", odd)
    assert addkit("sample", "x.png", "--run", ".").err == "warning: this is [odd]\n"


def test_urls_and_files(addkit: Any, digits_run: Path, digit_images: list[Path]) -> None:
    # Nothing listens at port 9.
    url = f"http://127.0.0.1:{9}/a.png"
    result = addkit("sample", url, digit_images[0], "--run", digits_run, "--json")
    assert result.code == 1
    assert [item["image"] for item in result.json] == [url, str(digit_images[0])]
    assert "error" in result.json[0]
