"""Optimizer state of some processes, read by others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from addkit.distributed.fsdp import cut_state, load_shards
from addkit.errors import RunError

LAB = Path(__file__).with_name("sharded_lab.py")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, fork_server: Any) -> Path:
    """What two processes left, and what one and three made of it."""
    out = tmp_path_factory.mktemp("resume")
    lab = fork_server.start(str(LAB), "resume", out, cwd=out)
    _, err = lab.communicate(timeout=300)
    assert lab.returncode == 0, err
    return out


def _told(saved: Path, name: str) -> dict[str, Any]:
    told: dict[str, Any] = torch.load(saved / f"{name}.pt")
    return told


def _parameters(told: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {n: torch.zeros(x.shape) for n, x in told["weights"].items() if x.is_floating_point()}


@pytest.mark.parametrize(("kind", "size"), [("sharded", 1), ("sharded", 3), ("whole", 3)])
def test_other_processes_go_on_as_if_nothing_had_happened(
    saved: Path, kind: str, size: int
) -> None:
    """`whole`: from the optimizer file that DDP or one process writes."""
    wanted, told = _told(saved, "uninterrupted"), _told(saved, f"{kind}-{size}")
    # Process 0 of 2 has micro-batches 0, 2, 4 of the third step; they share the first, at least.
    assert told["losses"][0] == pytest.approx(wanted["losses"][-3], rel=1e-5)
    for part in ("weights", "averages"):
        for name, tensor in wanted[part].items():
            torch.testing.assert_close(told[part][name], tensor, atol=1e-6, rtol=1e-5)


def test_what_was_saved_is_of_the_moment_when_it_was_asked_for(saved: Path) -> None:
    """Training went on while it was being written."""
    wanted = _told(saved, "saved-2")["optimizer"]
    told = load_shards(saved / "optimizer-2", _parameters(_told(saved, "uninterrupted")))
    assert told.keys() == wanted.keys()
    assert all(torch.equal(told[name], tensor) for name, tensor in wanted.items())
    assert {float(x) for name, x in told.items() if name.endswith("|step")} == {2.0}


def test_uneven_shares_and_processes_without_any(saved: Path) -> None:
    """16 rows are 6, 6 and 4 on three processes; one row is on one of them alone."""
    told = _told(saved, "sharded-3")
    read = load_shards(saved / "optimizer-3", _parameters(told))
    files = [load_file(file) for file in sorted((saved / "optimizer-3").glob("*.safetensors"))]
    rows = [len(file["diffusion.output.bias|exp_avg"]) for file in files]
    assert len(set(rows)) > 1
    assert len(files[2]["encoder.model.cls_token|exp_avg"]) == 0
    assert all(torch.equal(read[name], x) for name, x in told["optimizer"].items())


def test_nothing_is_pickled(saved: Path) -> None:
    assert {file.suffix for file in (saved / "optimizer-2").iterdir()} == {".safetensors"}


def test_a_save_that_fails_says_why(saved: Path) -> None:
    for rank in (0, 1):
        error = (saved / f"error-{rank}.txt").read_text()
        assert error.startswith(f"{saved / 'saved-2.pt' / 'optimizer'}: cannot be written: process")
        assert "Not a directory" in error


def _copy(saved: Path, tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    folder = tmp_path / "optimizer"
    shutil.copytree(saved / "optimizer-2", folder)
    return folder, _parameters(_told(saved, "uninterrupted"))


def test_a_missing_share_is_noticed(saved: Path, tmp_path: Path) -> None:
    folder, parameters = _copy(saved, tmp_path)
    next(folder.glob("shard-00001*")).unlink()
    with pytest.raises(RunError, match=r"optimizer: cannot be read: a share of .* is missing"):
        load_shards(folder, parameters)


def test_a_truncated_file_is_noticed(saved: Path, tmp_path: Path) -> None:
    folder, parameters = _copy(saved, tmp_path)
    file = next(folder.glob("shard-00002*"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RunError, match="optimizer: cannot be read: "):
        load_shards(folder, parameters)


def test_no_folder_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="optimizer: cannot be read: "):
        load_shards(tmp_path / "optimizer", {})


def test_a_state_of_other_parameters_is_refused(saved: Path, tmp_path: Path) -> None:
    folder, parameters = _copy(saved, tmp_path)
    with pytest.raises(RunError, match=r"diffusion\.null_token\|\w+ is \(16,\), not \(3,\)"):
        load_shards(folder, {**parameters, "diffusion.null_token": torch.zeros(3)})
    del parameters["diffusion.null_token"]
    with pytest.raises(RunError, match=r"the network has no parameter diffusion\.null"):
        load_shards(folder, parameters)


def test_state_of_what_is_not_spread_stays_whole() -> None:
    state = {"x|exp_avg": torch.ones(3), "x|step": torch.tensor(2.0)}
    assert cut_state(state, {"x": torch.zeros(3)}) == state
