"""Which process this is: as torchrun or SLURM say."""

from __future__ import annotations

import signal
import time

import pytest
import torch

from addkit.distributed import world
from addkit.distributed.world import World, describe_slurm, first_host, inside, joined
from addkit.errors import RunError, UsageError

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "first",
    "MASTER_PORT": "29500",
}
STEP = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[03-07,9],cpu1",
    "SLURM_JOB_ID": "123456",
}


def test_torchruns_environment() -> None:
    assert inside(TORCHRUN)
    world = World.of(TORCHRUN)
    assert world == World(rank=5, size=8, local_rank=1, local_size=4)
    assert not world.is_main


def test_nothing_in_the_environment_is_a_world_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCHRUN, *STEP):
        monkeypatch.delenv(name, raising=False)
    assert not inside({})
    with joined("cpu") as world:
        assert world == World()


def test_a_world_of_one_talks_to_nobody() -> None:
    world, values = World(), torch.ones(2)
    assert world.is_main
    assert world.sum(values) is values
    assert world.broadcast("x") == "x"
    assert world.all_gather(None) == [None]
    assert world.all_gather_tensor(values).shape == (1, 2)
    world.barrier()


@pytest.mark.parametrize("missing", ["MASTER_ADDR", "MASTER_PORT"])
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(UsageError) as caught, joined("cpu"):
        pass
    assert str(caught.value) == (
        f"{missing} not set: a process of a distributed training needs RANK, WORLD_SIZE, "
        "MASTER_ADDR, MASTER_PORT; start it with torchrun, with srun, or with --processes"
    )


def test_a_slurm_step_speaks_torchruns_words() -> None:
    known = dict(STEP)
    assert inside(known)
    describe_slurm(known)
    assert World.of(known) == World(rank=5, size=8, local_rank=1, local_size=4)
    assert (known["MASTER_ADDR"], known["MASTER_PORT"]) == ("gpu03", str(20_000 + 3456))
    known = STEP | {"MASTER_ADDR": "given", "MASTER_PORT": "1"}
    describe_slurm(known)
    assert (known["MASTER_ADDR"], known["MASTER_PORT"]) == ("given", "1")


def test_a_process_that_waits_reports_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a shell of four tasks, of which one is started."""
    for name, value in (STEP | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}).items():
        monkeypatch.setenv(name, value)
    for name in TORCHRUN:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(world, "SILENCE", 0.0)
    lines: list[str] = []

    def never(backend: str) -> None:
        # Python's handlers do not run while torch waits: the system itself ends the process.
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
        while not lines:
            time.sleep(0.01)
        raise torch.distributed.DistStoreError("Timed out after 1801 seconds waiting for clients.")

    monkeypatch.setattr(torch.distributed, "init_process_group", never)
    with pytest.raises(RunError), joined("cpu", lines.append):
        pass
    (line,) = lines
    assert line.startswith("waiting for 7 more processes (SLURM_STEP_NUM_TASKS=8)")
    assert line.endswith("to train alone, unset SLURM_STEP_NUM_TASKS")


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_a_shell_is_no_world(name: str) -> None:
    shell = STEP | {"SLURM_JOB_NAME": name}
    assert not inside(shell | {"SLURM_PTY_PORT": "1"})
    assert inside(STEP | {"SLURM_JOB_NAME": "train", "SLURM_PTY_PORT": "1"})


def test_a_batch_script_is_no_world() -> None:
    assert not inside({"SLURM_PROCID": "0", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "8"})
    assert not inside(STEP | {"SLURM_STEP_NUM_TASKS": "1"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-07,9],cpu1", "gpu03"),
        ("gpu[9,03]", "gpu9"),
        ("cpu1,gpu[1-2]", "cpu1"),
        ("a[1-2]-ib", "a1-ib"),
        ("rack[2,4]-node[1-3]", "rack2-node1"),
        ("localhost", "localhost"),
    ],
)
def test_the_first_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first
