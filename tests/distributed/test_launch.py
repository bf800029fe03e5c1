"""`addkit train --processes 2`, from outside: one run is stopped in every way and goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from addkit.distributed.launch import launch
from addkit.errors import RunError, Stopped

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]

PAIR = ("--processes", "2")


@pytest.fixture(scope="module")
def stopped(
    tmp_path_factory: pytest.TempPathFactory, commands: Any, fork_server: Any
) -> dict[str, Any]:
    """What was seen of a run that was stopped four times, and its folder."""
    run: Path = tmp_path_factory.mktemp("stopped") / "run"
    seen: dict[str, Any] = {"run": run}

    def begin(*words: str) -> Any:
        done = commands.steps(run)
        process = commands.start(fork_server, run, "--resume", *words)
        commands.trained_beyond(run, done + 5, process)
        return process

    process = begin(*PAIR)
    seen["lock"] = json.loads((run / "lock").read_text())
    ranks = commands.workers(process.pid)
    seen["ranks"] = ranks
    os.kill(ranks[1], signal.SIGKILL)
    seen["killed"] = commands.ended(process)

    process = begin(*PAIR)
    process.send_signal(signal.SIGTERM)
    seen["terminated"] = (*commands.ended(process), commands.steps(run), _latest(run))

    process = begin(*PAIR)
    ranks = commands.workers(process.pid)
    process.kill()
    killed = monotonic()
    commands.until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in ranks.values()))
    seen["orphaned"] = monotonic() - killed
    process.communicate()

    process = begin("--processes", "1")
    process.send_signal(signal.SIGINT)
    seen["interrupted"] = (*commands.ended(process), commands.steps(run), _latest(run))
    seen["status"] = json.loads((run / "manifest.json").read_text())["status"]

    seen["finished"] = commands.ended(commands.start(fork_server, run, "--resume", *PAIR))
    return seen


def _latest(run: Path) -> int:
    return int((run / "checkpoints" / "latest").read_text().strip().removeprefix("step-"))


def test_the_result_is_told_once(stopped: dict[str, Any], commands: Any) -> None:
    code, out, err = stopped["finished"]
    assert code == 0, err
    told = json.loads(out)
    assert told["steps"] == commands.STEPS
    run = stopped["run"]
    # A slow machine shows how far it is, too.
    slow = ("ADD: step ", "waiting for ")
    notes = [line for line in err.splitlines() if not line.startswith(slow)]
    resumed = stopped["interrupted"][-1]
    assert notes == [f"run: {run}", f"ADD: {commands.STEPS} steps, resumed after step {resumed}"]
    assert not (run / "lock").exists()
    logs = list(run.glob("logs/*/attempt_0/*/stderr.log"))
    assert len(logs) == 4
    assert {path.parent.name for path in logs} == {"1"}


def test_the_leading_process_holds_the_lock(stopped: dict[str, Any]) -> None:
    assert set(stopped["ranks"]) == {0, 1}
    assert stopped["lock"]["pid"] == stopped["ranks"][0]


def test_a_killed_process_fails_the_command_by_name(stopped: dict[str, Any]) -> None:
    code, out, err = stopped["killed"]
    run = stopped["run"]
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    before, log = last.split("; its log is ")
    assert before == f"error: {run}: process 1 of 2 was killed by SIGKILL"
    assert Path(log).is_file()


def test_sigterm_saves_at_the_step(stopped: dict[str, Any]) -> None:
    code, out, err, taken, saved = stopped["terminated"]
    assert (code, out) == (143, "")
    assert err.splitlines()[-1] == (
        f"stopped by SIGTERM; saved after step {saved}; continue with --resume"
    )
    assert taken == saved


def test_processes_end_with_the_one_that_started_them(stopped: dict[str, Any]) -> None:
    """Long before the rest of the training; a busy machine takes seconds to free their memory."""
    assert stopped["orphaned"] < 10


def test_ctrl_c_saves_at_the_step(stopped: dict[str, Any]) -> None:
    code, out, err, taken, saved = stopped["interrupted"]
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == (
        f"stopped by Ctrl-C; saved after step {saved}; continue with --resume"
    )
    assert taken == saved
    assert stopped["status"] == "running"
    assert "Traceback" not in err


def test_after_all_that_the_bits_are_those_of_a_run_that_nobody_stopped(
    stopped: dict[str, Any], straight: Path, commands: Any, same: Same
) -> None:
    code, out, err = stopped["finished"]
    assert code == 0, err
    assert same(commands.stored(straight), commands.stored(stopped["run"]))
    scores = json.loads((straight / "manifest.json").read_text())["scores"]
    for weights, values in json.loads(out)["scores"].items():
        assert values == pytest.approx(scores[weights], rel=1e-6)


POISON = """
import os
from addkit import hookimpl
from addkit.data import image_sets
from addkit.errors import DataError

if os.environ.get("RANK") == "1":
    def batch(self, indices, seed):
        raise DataError("photo.jpg: cut short or broken")
    image_sets.MemoryImages.batch = batch


@hookimpl
def addkit_components():
    return []
"""


def test_the_error_of_a_process_is_told_with_its_rank_and_its_log(
    tmp_path: Path, commands: Any, fork_server: Any
) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    words = ("--plugin-file", str(tmp_path / "poison.py"), *PAIR)
    code, out, err = commands.ended(commands.start(fork_server, tmp_path / "run", *words))
    assert (code, out) == (1, "")
    before, log = err.splitlines()[-1].split("; its log is ")
    wanted = "process 1 of 2 failed: DataError: photo.jpg: cut short or broken"
    assert before == f"error: {tmp_path / 'run'}: {wanted}"
    assert "error: photo.jpg: cut short or broken" in Path(log).read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--processes", "2", "--resume", "--fresh"), "--resume"),
        (("--processes", "2", "--set", "training.lr=-1"), "training"),
    ],
)
def test_usage_errors_come_before_any_process(
    addkit: Any, recipes: Path, monkeypatch: pytest.MonkeyPatch, words: Any, error: str
) -> None:
    monkeypatch.setattr("addkit.cli.launch.launch", lambda *_: pytest.fail("started"))
    said = addkit("train", recipes / "digits.toml", *words)
    assert said.code == 2
    assert error in said.err
    assert not list(Path().iterdir())


def test_more_processes_than_gpus(
    addkit: Any, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    said = addkit("train", recipes / "digits.toml", *PAIR)
    assert said.code == 2
    assert said.err.splitlines()[-1] == (
        "error: 2 processes need a GPU each, and this machine has 1; give --processes 1, "
        "or set CUDA_VISIBLE_DEVICES to nothing to train on the CPU"
    )


def test_torchrun_has_started_processes_already(
    addkit: Any, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = addkit("train", recipes / "digits.toml", *PAIR)
    assert (said.code, said.err) == (
        2,
        "error: --processes starts processes, and torchrun or srun has done so already\n",
    )


def test_a_launch_that_fails_as_it_begins_keeps_the_log_that_it_names(tmp_path: Path) -> None:
    from addkit.errors import RunError
    from addkit.training.location import clean_start

    log, recipe = tmp_path / "run" / "logs" / "stderr.log", tmp_path / "run" / "recipe.toml"
    for file in (log, recipe):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with pytest.raises(RunError), clean_start(tmp_path / "run", frozenset({recipe})):
        raise RunError(f"no; its log is {log}")
    assert log.exists()
    assert recipe.exists()


PHOTO = "DataError: a photo"
LOST = "process 0 of 2 has lost another one, which ended; its own error says why"


@pytest.mark.parametrize(
    ("codes", "errors", "told", "code"),
    [
        ((143, 1), ("", PHOTO), f"process 1 of 2 failed: {PHOTO}", 1),
        ((-15, 1), ("", PHOTO), f"process 1 of 2 failed: {PHOTO}", 1),
        ((1, -9), (LOST, ""), "process 1 of 2 was killed by SIGKILL", 1),
        ((1, 1), (PHOTO, PHOTO), f"process 0 of 2 failed: {PHOTO}", 1),
        # The agent ended it while it was still leaving with its own error.
        ((1, -15), (LOST, PHOTO), f"process 1 of 2 failed: {PHOTO}", 1),
        ((2, -15), ("a key", ""), "process 0 of 2 failed: a key", 2),
    ],
)
def test_whoever_ended_because_of_another_is_not_blamed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    codes: tuple[int, int],
    errors: tuple[str, str],
    told: str,
    code: int,
) -> None:
    with pytest.raises(RunError, match=told) as raised:
        _launched(tmp_path, monkeypatch, codes, errors)
    assert raised.value.exit_code == code


@pytest.mark.parametrize("code", [130, 143])
def test_processes_that_were_all_asked_to_stop_have_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with pytest.raises(Stopped) as stopped:
        _launched(tmp_path, monkeypatch, (code, code), ("stopped", "stopped"))
    assert stopped.value.exit_code == code


def _launched(
    run: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], errors: tuple[str, str]
) -> None:
    """`launch`, of which torchrun's agent says that its processes ended like that."""
    files = [run / f"{rank}.json" for rank in range(2)]
    for file, error in zip(files, errors, strict=True):
        if error:
            file.write_text(json.dumps({"message": error}))
    failures = {
        rank: ProcessFailure(rank, 1, code, str(file))
        for rank, (code, file) in enumerate(zip(codes, files, strict=True))
    }

    def fail(*words: str) -> None:
        raise ChildFailedError("addkit", failures)

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *_: fail)
    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("logging.disable", lambda _: None)
    launch(("train",), 2, run)
