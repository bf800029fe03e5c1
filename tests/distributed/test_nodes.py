"""Two agents of torchrun stand for two machines; one of them goes down and comes back."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]

TORCHRUN = (
    *("--nnodes=2", "--nproc-per-node=1", "--max-restarts=3"),
    *("--rdzv-backend=c10d", "--rdzv-id=test", "--monitor-interval=0.2"),
    "--rdzv-conf=last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3",
)


@pytest.mark.slow
def test_a_lost_node_comes_back(
    tmp_path: Path,
    free_port: int,
    straight: Path,
    commands: Any,
    fork_server: Any,
    same: Same,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another agent takes its place, and the processes that were left begin again with it."""
    # With it the agent that stays tells the new one nothing, and both time out.
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    run = tmp_path / "nodes"

    def start() -> Any:
        options = (*TORCHRUN, f"--rdzv-endpoint=localhost:{free_port}")
        return commands.start(fork_server, run, "--resume", torchrun=options)

    # The first one is the machine where they meet; the other one goes down.
    agents = [start()]
    try:
        commands.until(lambda: _listens(free_port), agents[0])
        agents.append(start())
        commands.trained_beyond(run, 25, agents[0])
        for pid in (agents[1].pid, *commands.workers(agents[1].pid).values()):
            os.kill(pid, signal.SIGKILL)
        agents[1].communicate()
        agents[1] = start()
        ends = [commands.ended(agent) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert "resumed after step" in ends[0][2] + ends[1][2]
    assert same(commands.stored(straight), commands.stored(run))


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("localhost", port)) == 0
