"""A network that is spread over processes learns what a whole one learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from addkit.distributed.fsdp import cut, whole

LAB = Path(__file__).with_name("sharded_lab.py")
CASES = [
    *("plain", "many copies, recomputed", "frozen encoder", "bfloat16"),
    *("self-conditioning", "digits"),
]

Runs = dict[tuple[str, int, int], dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, fork_server: Any) -> Runs:
    """(case, processes, rank) -> what a training of two steps came to."""
    out = tmp_path_factory.mktemp("parity")
    lab = fork_server.start(str(LAB), "parity", out, cwd=out)
    _, err = lab.communicate(timeout=300)
    assert lab.returncode == 0, err
    found = {tuple(file.stem.rsplit("-", 2)): torch.load(file) for file in out.glob("*.pt")}
    return {(case, int(size), int(rank)): told for (case, size, rank), told in found.items()}


def _close(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if "running" in name or "num_batches" in name:  # Each process has its own statistics.
            continue
        torch.testing.assert_close(
            tensor, other[name], atol=tolerance, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("case", CASES)
def test_two_processes_with_shares_do_as_one_with_all(runs: Runs, case: str) -> None:
    alone, pair = runs[case, 1, 0], [runs[case, 2, rank] for rank in (0, 1)]
    interleaved = [loss for both in zip(*(p["losses"] for p in pair), strict=True) for loss in both]
    assert interleaved == pytest.approx(alone["losses"], rel=1e-5)
    torch.testing.assert_close(pair[0]["norm"], alone["norm"], rtol=1e-4, atol=0)
    _close(pair[0]["gradients"], alone["gradients"], 1e-7)
    # AdamW divides by a second moment that may itself be rounding.
    _close(pair[0]["weights"], alone["weights"], 1e-5)
    _close(pair[0]["averages"], alone["averages"], 1e-5)


def test_every_parameter_is_spread(runs: Runs) -> None:
    """Nobody holds much more than half."""
    weights = runs["plain", 1, 0]["weights"].values()
    shares = [runs["plain", 2, rank]["shares"] for rank in (0, 1)]
    assert sum(shares) == sum(tensor.numel() for tensor in weights if tensor.is_floating_point())
    assert max(shares) < 0.7 * sum(shares)


def test_a_frozen_encoder_has_no_gradient(runs: Runs) -> None:
    frozen = runs["frozen encoder", 2, 0]
    assert not [name for name in frozen["gradients"] if name.startswith("encoder")]
    assert [name for name in frozen["weights"] if name.startswith("encoder")]


@pytest.mark.parametrize("case", CASES)
def test_whole_weights_come_back(runs: Runs, case: str) -> None:
    leader, other = (runs[case, 2, rank] for rank in (0, 1))
    assert other["state"] == {}
    for name, tensor in leader["weights"].items():
        assert torch.equal(leader["state"][name], tensor)
        assert torch.equal(leader["gathered"][name], tensor)
    for name, tensor in other["weights"].items():
        assert torch.equal(other["gathered"][name], tensor)


def test_what_is_not_spread_is_left_alone() -> None:
    tensor = nn.Parameter(torch.ones(3))
    assert whole(tensor) is tensor
    assert cut(tensor, torch.zeros(3)) is tensor
