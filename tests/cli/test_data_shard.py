"""`addkit data shard`, and training on what it wrote."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from addkit.cli.data import data
from addkit.errors import AddkitError, DataError, RunError, UsageError
from addkit.model import build_data
from addkit.recipe import read_recipe
from addkit.runs.lock import locked

app = typer.Typer(rich_markup_mode=None)
app.add_typer(data, name="data")


def _call(*words: object) -> Any:
    return CliRunner().invoke(app, ["data", "shard", *map(str, words)])


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of twelve small pictures."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    for name in ("blue", "green", "red"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = noise.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def words(recipes: Path, photos: Path) -> list[Any]:
    changes = ("--set", "data.root=photos", "--shard-size", "0.01", "--jobs", "2")
    return [recipes / "image-folder-small.toml", "out", *changes]


def test_a_report_for_people_and_the_next_command(words: list[Any]) -> None:
    told = _call(*words)
    assert told.exit_code == 0, told.output
    lines = [line.split() for line in told.stdout.splitlines() if line.strip()]
    assert lines[0] == ["split", "shards", "images", "MB"]
    assert lines[1][:3] == ["train", "4", "27"]
    assert lines[2][:3] == ["test", "1", "6"]
    assert told.stderr.splitlines()[-1].startswith("next: addkit train ")
    assert told.stderr.splitlines()[-1].endswith("image-folder-small.toml --set data.root=out")
    assert "out/train-00003.tar: written, " in told.stderr
    assert "out/train-00003.tar: exists, " in _call(*words).stderr


def test_json(words: list[Any]) -> None:
    told = json.loads(_call(*words, "--json").stdout)
    sizes = [path.stat().st_size for path in Path("out").glob("*.tar")]
    assert told["folder"] == "out"
    assert (told["shards"], told["samples"], told["bytes"]) == (6, 36, sum(sizes))
    assert (told["written"], told["kept"]) == (6, 0)
    assert told["splits"]["test"] == {
        "shards": 1,
        "samples": 6,
        "bytes": Path("out/test-00000.tar").stat().st_size,
    }
    told = json.loads(_call(*words, "--json").stdout)
    assert (told["written"], told["kept"]) == (0, 6)


def test_verify(words: list[Any]) -> None:
    _call(*words)
    told = _call(*words, "--verify", "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["broken"] == []
    path = Path("out/train-00001.tar")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    told = _call(*words, "--verify", "--json")
    assert json.loads(told.stdout)["broken"] == [
        {"file": "out/train-00001.tar", "problem": "altered: another checksum"}
    ]
    assert isinstance(told.exception, DataError)
    assert told.exception.exit_code == 1
    told = _call(*words, "--verify")
    assert "out/train-00001.tar: altered: another checksum" in told.stdout.splitlines()


def test_the_repair_that_verify_names_works(words: list[Any]) -> None:
    _call(*words)
    path = Path("out/train-00001.tar")
    path.write_bytes(b"")
    # Without --shard-size, which the index tells.
    told = _call(*words[:4], "--verify")
    head, command = str(told.exception).split(": addkit data shard ")
    assert head == "out: 1 file is broken; to write what is broken again"
    assert command == f"{words[0]} out --set data.root=photos --shard-size 0.01"
    assert _call(*command.split()).exit_code == 0
    assert _call(*words[:4], "--verify").exit_code == 0


def test_what_is_no_folder_of_shards(words: list[Any]) -> None:
    Path("file").touch()
    assert str(_call(words[0], "file", *words[2:]).exception) == "file is a file. Name a folder."
    for name in ("file", "nope"):
        told = _call(words[0], name, "--verify")
        assert str(told.exception) == f"{name}: no such folder."
    told = _call(words[0], "photos", "--verify")
    assert "`addkit data shard RECIPE photos`" in str(told.exception)


def test_a_folder_that_is_being_written_is_refused(words: list[Any]) -> None:
    with locked(Path("out")):
        told = _call(*words)
        assert isinstance(told.exception, RunError)
        assert re.fullmatch(
            rf"out: is being written by process {os.getpid()} on .* since .*; stop it, or wait for "
            "it: shards that are whole stay and count",
            str(told.exception),
        )
    # As a kill leaves it.
    Path("out").mkdir(exist_ok=True)
    Path("out/lock").write_text('{"pid": 1}')
    assert _call(*words).exit_code == 0
    assert not Path("out/lock").exists()


@pytest.mark.parametrize(
    "name", ["members/mine.json", "members/notes/a.txt", "index.json", "a.tar"]
)
def test_a_folder_with_files_of_the_users_is_refused(words: list[Any], name: str) -> None:
    file = Path("out") / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    assert isinstance(_call(*words).exception, DataError)
    assert file.read_text() == "mine"
    assert [path for path in Path("out").rglob("*") if path.is_file()] == [file]


def test_too_few_shards_are_refused_before_a_training_with_a_size_that_is_enough(
    words: list[Any], addkit: Any
) -> None:
    _call(*words)
    train = ["train", words[0], "--set", "data.root=out", "--set", "training.batch_size=6"]
    train += ["--set", "distributed.per_process_batch=1"]
    for more in (["--dry-run"], ["--dry-run", "--processes", "2"], ["--processes", "2"]):
        said = addkit(*train, *more)
        assert (said.code, said.out) == (1, "")
        assert said.err.count("the training images are in 4 shards, and a step has 6 micro") == 1
    assert not Path("runs").exists()
    assert f"`addkit data shard {words[0]} NEW_FOLDER --set data.root=IMAGES --s" in said.err
    (size,) = re.findall(r"--shard-size ([\d.]+)` gives enough", said.err)
    assert _call(words[0], "new", "--set", "data.root=photos", "--shard-size", size).exit_code == 0
    assert len(list(Path("new").glob("train-*.tar"))) >= 6
    assert addkit(*train, "--dry-run", "--set", "data.root=new").code == 0


def test_a_data_set_in_memory(recipes: Path, tmp_path: Path) -> None:
    told = _call(recipes / "digits.toml", tmp_path / "out")
    assert isinstance(told.exception, UsageError)
    assert isinstance(told.exception, AddkitError)
    assert "Shards can be made of image-folder" in str(told.exception)
    assert not (tmp_path / "out").exists()


def test_the_recipe_reads_shards_like_the_folder(words: list[Any]) -> None:
    _call(*words)
    folder, shards = (
        build_data(read_recipe(words[0], [f"data.root={root}"])) for root in ("photos", "out")
    )
    assert replace(shards.facts, files=()) == replace(folder.facts, files=())
    one, other = folder.split("train"), shards.split("train")
    assert torch.equal(one.batch([5, 3], 1).images, other.batch([5, 3], 1).images)
