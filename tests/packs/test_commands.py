"""`addkit pack` and `push`, and packs where a command takes a run."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.api import evaluate

from .servers import Hub

Cli = Callable[..., Any]


def test_pack_and_sample(
    addkit: Cli, digits_run: Path, digit_images: list[Path], tmp_path: Path, web: Any
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(digits_run)
    said = addkit("pack", "mine", "--json")
    assert said.code == 0
    assert (said.json["file"], said.json["weights"]) == ("mine.zip", "ema")
    file = tmp_path / "mine.zip"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (said.json["sha256"], said.json["size"]) == (digest, file.stat().st_size)
    lines = addkit("pack", digits_run, "-o", "again.zip", "--weights", "raw").out.splitlines()
    assert lines[0] == "again.zip"
    assert addkit("pack", digits_run, "-o", "again.zip").code == 2
    words = ["sample", digit_images[0], "--steps", "2", "--json", "--run"]
    expected = addkit(*words, digits_run).json
    assert addkit(*words, "mine.zip").json == expected
    with web(lambda _: (200, {}, file.read_bytes())) as (url, log):
        said = addkit(*words, f"{url}/x.zip")
        assert said.json == expected
        assert f"{url}/x.zip#sha256={digest}" in said.err
        assert len(log) == 1
    assert addkit(*words, f"{url}/x.zip#sha256={digest}").json == expected
    assert addkit(*words, f"{url}/x.zip").code == 1


def test_evaluate_writes_nothing_into_a_pack(
    addkit: Cli, digits_pack: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    zipfile.ZipFile(digits_pack).extractall(folder)
    before = sorted(folder.iterdir())
    words = ["evaluate", "--no-audit", "--json", "--run"]
    for where in (folder, digits_pack):
        said = addkit(*words, where)
        assert (said.code, said.json["run"]) == (0, str(where))
        assert said.json["controls"] == []
    # Of Python too; `addkit` is the command here.
    assert evaluate(digits_pack, store=True).data()["results"] == said.json["results"]
    assert sorted(folder.iterdir()) == before


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_push(addkit: Cli, digits_run: Path, digit_images: list[Path], hub: Hub) -> None:
    words = ["push", digits_run, "org/digits", "--private", "--license", "mit", "--json"]
    first = addkit(*words).json
    assert hub.private == {"org/digits": True}
    files = hub.commits["org/digits"][-1]
    assert set(first["files"]) == set(files)
    assert b"license: mit" in files["README.md"]
    # A second push keeps what others have added.
    hub.commits["org/digits"][-1]["notes.txt"] = b"mine"
    second = addkit(*words[:3], "--weights", "raw", "--json").json
    assert hub.commits["org/digits"][-1]["notes.txt"] == b"mine"
    assert first["name"] != second["name"]
    sample = ["sample", digit_images[0], "--json", "--run"]
    assert addkit(*sample, first["name"]).json == addkit(*sample, digits_run).json
    expected = addkit(*sample, digits_run, "--weights", "raw").json
    assert (
        addkit(*sample, "hf://org/digits").json == addkit(*sample, second["name"]).json == expected
    )
    for more, code in ((["--token", "hf_wrong"], 1), ([], 0)):
        assert addkit(*words[:3], *more).code == code
    assert addkit("push", digits_run, "a/b/c").code == 2


def test_what_needs_a_run(addkit: Cli, digits_pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    zipfile.ZipFile(digits_pack).extractall(folder)
    before = sorted(folder.iterdir())
    for where in (digits_pack, folder):
        for words in (
            ["train", where],
            ["train", where, "--resume"],
            ["report", where],
            ["plot", "losses", where, "-o", "x.svg"],
            ["pack", where, "-o", "x.zip"],
            ["push", where, "org/x"],
        ):
            said = addkit(*words)
            assert said.code in (1, 2), words
            assert "pack" in said.err.replace(str(where), ""), words
    said = addkit("train", "digits", "--run-dir", folder, "--resume")
    assert (said.code, "pack" in said.err.replace(str(folder), "")) == (2, True)
    assert sorted(folder.iterdir()) == before
    assert addkit("runs", "show", folder).code == 0
    assert addkit("sample", "x.png", "--run", "org/name").code == 1
