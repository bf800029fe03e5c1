"""Every command that writes, on a disk that fails from its n-th write on, for every n."""

from __future__ import annotations

import errno
import importlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from addkit.ablation.results import StoredScores
from addkit.ablation.worker import Task
from addkit.report import page
from addkit.runs.checkpoint_files import checkpoint_of

from ..faulty_disk import NUMBERS, REASONS, FaultyDisk
from ..report.made import made_run

Cli = Callable[..., Any]

OUT = Path("out")
ENDLESS = 200


def _sets(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


SMALL = _sets(
    *("encoder.widths=[4]", "encoder.blocks=1", "denoiser.width=8", "denoiser.depth=1"),
    *("training.epochs=1", "training.batch_size=1024", "distributed.per_process_batch=1024"),
    *("sampling.steps=1", "sampling.batch_size=1024"),
    *("control.heads=[]", "checkpoints.asynchronous=false"),
)


def _failed(said: Any, disk: FaultyDisk) -> None:
    """The command names the file and the reason, and blames nobody."""
    assert (said.code, said.out) == (1, ""), (disk.writes[-1], said)
    *_, last = [line for line in said.err.splitlines() if line.startswith("error: ")]
    # Of a temporary or of a folder on the way to the file.
    assert last.startswith(f"error: {OUT}"), (disk.writes[-1], last)
    assert f": cannot be written: {REASONS[disk.number]} (" in last
    assert "fault of addkit" not in said.err


@pytest.fixture
def prepared(
    request: pytest.FixtureRequest, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], dict[str, bytes]]:
    """The words of a command that writes into OUT, and the files that it may replace."""
    command = request.param
    digits = ["--run", OUT / "run"]
    match command:
        case "evaluate":
            shutil.copytree(request.getfixturevalue("digits_run"), OUT / "run")
            evaluation = SimpleNamespace(data=lambda: {"results": []}, never_predicted=dict)
            module = importlib.import_module("addkit.evaluation.run")
            monkeypatch.setattr(module, "_evaluate", lambda *_: evaluation)
            return ["evaluate", *digits, "--json"], {"run/evaluation.json": b'{\n  "results": []'}
        case "report":
            made_run(OUT / "run")
            # The sections are drawn in memory, which takes long.
            monkeypatch.setattr(page.write_page, "__defaults__", ((),))
            return ["report", OUT / "run"], {"run/report.html": b"<!doctype html>"}
        case "plot":
            made_run(OUT / "run")
            return ["plot", "losses", OUT / "run", "-o", OUT / "a.svg"], {"a.svg": b"<?xml"}
        case "trace":
            image = request.getfixturevalue("digit_images")[0]
            run = request.getfixturevalue("digits_run")
            words = ["sample", "--run", run, image, "--steps", "1", "--trace", OUT / "a.png"]
            return [*words, "--read-out", "last"], {"a.png": b"\x89PNG"}
        case "ablate":

            def score(tasks: Mapping[str, Task], jobs: int, progress: Any) -> dict[str, str]:
                for task in tasks.values():
                    for file in task.settings:
                        stored = StoredScores(
                            headline="top1", steps=1, scores={"top1": 1.0, "count": 9}
                        )
                        stored.write(Path(file))
                return {}

            module = importlib.import_module("addkit.ablation.ablate")
            monkeypatch.setattr(module, "execute", score)
            words = ["ablate", "digits", "--loss", "mse", "--seeds", "1", "--store", OUT, "--json"]
            return words, {}
        case "shard":
            for name in ("train/a/1", "train/b/1", "test/a/1", "test/b/1"):
                file = Path("photos") / f"{name}.png"
                file.parent.mkdir(parents=True)
                Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(file)
            words = ["data", "shard", recipes / "image-folder-small.toml", OUT / "shards", "--json"]
            return [*words, "--jobs", "1", "--set", "data.root=photos"], {}
        case "plugins new":
            directory = ("--directory", OUT / "new", "--json")
            return ["plugins", "new", "my-loss", "--kind", "loss", *directory], {}
    raise AssertionError(command)


COMMANDS = ("evaluate", "report", "plot", "trace", "ablate", "shard", "plugins new")


@pytest.mark.parametrize("prepared", COMMANDS, indirect=True)
def test_each_write_of_a_command(
    addkit: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepared: tuple[list[Any], dict[str, bytes]],
) -> None:
    words, replaced = prepared
    OUT.mkdir(exist_ok=True)
    for name in replaced:
        (OUT / name).write_text("old")
    (OUT / "thesis.tmp").write_text("mine")
    for first in range(1, ENDLESS):
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, tmp_path / OUT, first, NUMBERS[first % len(NUMBERS)])
            said = addkit(*words)
        for name, start in replaced.items():
            content = (OUT / name).read_bytes()
            assert content == b"old" or content.startswith(start)
        assert (OUT / "thesis.tmp").read_text() == "mine"
        if not disk.broken:
            break
        if words[0] in ("sample", "evaluate"):
            # The answers are printed before they are drawn or stored.
            assert said.out
            said = type(said)(said.code, "", said.err)
        _failed(said, disk)
        if words[0] == "plugins":
            # What cannot be deleted stays, and a package is not written over it.
            assert not (OUT / "new").exists() or disk.number != errno.ENOSPC
            shutil.rmtree(OUT / "new", ignore_errors=True)
    assert said.code == 0, said.err
    assert 4 < first < ENDLESS - 1


def test_each_write_of_a_training(
    addkit: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file once: a full pass would write the manifest six times, with a training each."""
    words = ["train", "digits", "--run-dir", OUT, *SMALL]
    with monkeypatch.context() as patch:
        disk = FaultyDisk(patch, tmp_path)
        assert addkit(*words).code == 0
    firsts = [
        number
        for number, write in enumerate(disk.writes, 1)
        if not write.startswith("fsync") and write not in disk.writes[: number - 1]
    ]
    assert len(firsts) > 15
    for turn, first in enumerate(firsts):
        shutil.rmtree(OUT, ignore_errors=True)
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, tmp_path, first, NUMBERS[turn % len(NUMBERS)])
            said = addkit(*words)
        _failed(said, disk)
        assert not (OUT / "checkpoints" / "latest").exists() or checkpoint_of(OUT / "checkpoints")
        assert not list(OUT.rglob("*.tmp")) or disk.number != errno.ENOSPC
