from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from addkit.errors import AddkitWarning, RunError
from addkit.model import load
from addkit.runs import Run
from addkit.runs.checkpoint import CheckpointWriter, Progress, load_progress, load_tensors
from addkit.runs.checkpoint_files import Keep, checkpoint_of, checkpoints_in, seal


def _save(folder: Path, step: int) -> Path:
    weights = {"raw": {"w": torch.full((2, 3), float(step)).T}, "ema": {"w": torch.zeros(1)}}
    with CheckpointWriter(folder, Keep()) as writer:
        return writer.save(Progress(step, step / 2), weights)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    assert checkpoint_of(tmp_path) is None
    path = _save(tmp_path, 7)
    assert path == tmp_path / "step-00000007" == checkpoint_of(tmp_path)
    assert load_progress(path) == Progress(7, 3.5)
    assert torch.equal(load_tensors(path / "raw.safetensors")["w"], torch.full((3, 2), 7.0))
    assert _names(path) == ["checksums.json", "ema.safetensors", "progress.json", "raw.safetensors"]


@pytest.mark.parametrize("length", [0, 4, 20, 80])
def test_a_truncated_file_is_named(tmp_path: Path, length: int) -> None:
    file = _save(tmp_path, 1) / "raw.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RunError, match=r"raw\.safetensors: cannot be read: "):
        load_tensors(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no\.safetensors: cannot be read: "):
        load_tensors(tmp_path / "no.safetensors")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stp": 1}', "3"])
def test_broken_progress_is_named(tmp_path: Path, text: str) -> None:
    path = _save(tmp_path, 1)
    (path / "progress.json").write_text(text)
    with pytest.raises(RunError, match=r"progress\.json: "):
        load_progress(path)


@pytest.fixture
def run(digits_run: Path, tmp_path: Path) -> Run:
    """A copy that may be broken."""
    return Run(Path(shutil.copytree(digits_run, tmp_path / "run")))


def test_loading_a_run_with_a_truncated_checkpoint(run: Run) -> None:
    checkpoint = checkpoint_of(run.checkpoints)
    assert checkpoint is not None
    file = checkpoint / "ema.safetensors"
    whole = bytearray(file.read_bytes())
    flipped = whole.copy()
    flipped[-100] ^= 64
    older = checkpoints_in(run.checkpoints)[0]
    others = rf"--weights raw.*--run \S*{older.name}"
    for content, fault in ((whole[:-10], "truncated"), (flipped, "altered"), (None, "missing")):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(RunError, match=rf"ema\.safetensors: {fault}.*{others}"):
            load(run.path)
        assert load(run.path, weights="raw").weights == "raw"
        assert load(older).weights == "ema"
    # Of those that are named, the older checkpoint has now raw weights alone.
    (older / "ema.safetensors").unlink()
    (checkpoint / "raw.safetensors").unlink()
    with pytest.raises(RunError, match=r"ema\.safetensors: missing; put back a copy$"):
        load(run.path)
    with pytest.raises(RunError, match=rf"raw\.safetensors: missing.*--run \S*{older.name}"):
        load(run.path, weights="raw")


def test_loading_another_networks_weights(run: Run) -> None:
    checkpoint = checkpoint_of(run.checkpoints)
    assert checkpoint is not None
    save_file({"w": torch.zeros(2)}, checkpoint / "ema.safetensors")
    seal(checkpoint)
    with pytest.raises(RunError, match=r"ema\.safetensors: does not fit the run's recipe: "):
        load(run.path)


def test_weights_without_a_checksum(run: Run) -> None:
    checkpoint = checkpoint_of(run.checkpoints)
    assert checkpoint is not None
    sums = json.loads((checkpoint / "checksums.json").read_text())
    del sums["ema.safetensors"]
    (checkpoint / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(RunError, match=r"checksums\.json: .*ema\.safetensors"):
        load(run.path)
    (checkpoint / "checksums.json").unlink()
    with pytest.warns(AddkitWarning, match=r"checksums\.json: missing"):
        load(run.path)


def test_checkpoints_hold_nothing_that_could_run_code(digits_run: Path) -> None:
    files = [path for path in digits_run.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {"", ".json", ".jsonl", ".safetensors", ".toml"}
    for path in digits_run.rglob("progress.json"):
        assert set(json.loads(path.read_text())) == {"step", "seconds"}
