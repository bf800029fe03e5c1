"""`kill-pair`: stop a digits run of one or two processes at random moments, then --resume.

`kill -9` hits either process; SIGTERM, SIGINT and SIGHUP one of them or both, and must end in their
exit code with every step saved (the signal itself before a process listens). Where `kill` starts
each command anew, and so waits for Python most of the time, this forks the processes from one that
has loaded everything, as torchrun's agent would start them: so many more stops meet the training
itself, with a checkpoint every half second. A survivor must end by itself or is killed after a
moment, as the agent does. Final weights of ADD and its control, raw and averaged, are compared with
an uninterrupted run's, to the bit.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep

import torch
from kill import EVERY, RECIPE, SIGNALS, weights_of
from measure import Options, Row, Target, note

EPOCHS = 6
GRACE = {signal.SIGKILL: 5.0}
"""Seconds that the agent leaves a survivor; 60 to save, after the other signals."""


def rows(options: Options) -> Iterator[Row]:
    """Rows: kills survived, and runs that ended equal to the bit."""
    kills = 4 if options.quick else options.kills
    for size in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            straight = _straight(Path(folder), size)
            for sign in SIGNALS:
                done = _measure(straight, size, kills, random.Random(0), sign)
                yield from _rows(f"kill-pair, {size} processes, {sign.name}", done)


def _rows(name: str, done: dict[str, int]) -> Iterator[Row]:
    runs, equal, killed = done["runs"], done["equal"], done["kills"]
    yield Row(
        name=name,
        compares="killed runs that ended in the uninterrupted run's bits / killed runs",
        values=[equal / runs],
        target=Target(1.0, at_least=True),
        note=json.dumps(done),
    )
    yield Row(
        name=name,
        compares="kills after which --resume went on / kills",
        values=[1.0 if equal == runs else 1 - (runs - equal) / killed],
        target=Target(1.0, at_least=True),
    )


def _straight(folder: Path, size: int) -> tuple[Path, float]:
    """The uninterrupted run and its seconds."""
    import addkit.cli.launch  # noqa: F401 - loads everything before the forks

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    start = perf_counter()
    if any(_ended(pid) for pid in _pair(folder / "straight", size)):
        raise RuntimeError((folder / "straight.log").read_text())
    whole = perf_counter() - start
    note(f"  uninterrupted: {whole:.1f} s")
    return folder / "straight", whole


def _measure(
    straight: tuple[Path, float],
    size: int,
    kills: int,
    chance: random.Random,
    sign: signal.Signals,
) -> dict[str, int]:
    (path, whole), wanted = straight, weights_of(straight[0])
    folder = path.parent
    done = {"kills": 0, "runs": 0, "equal": 0, "survivors that hung": 0, "steps repeated": 0}
    while done["kills"] < kills:
        path = folder / f"{sign.name}-{done['runs']}"
        while _session(path, size, whole, chance, done, sign):
            pass
        done["runs"] += 1
        found = weights_of(path)
        done["equal"] += wanted.keys() == found.keys() and all(
            torch.equal(wanted[name], found[name]) for name in wanted
        )
        note(f"  {done}")
    return done


def _session(
    path: Path,
    size: int,
    whole: float,
    chance: random.Random,
    done: dict[str, int],
    sign: signal.Signals,
) -> bool:
    """Start both and stop one or both at a random moment; True if they were stopped."""
    pair = _pair(path, size)
    end = perf_counter() + chance.uniform(0.02, 0.8) * whole
    while perf_counter() < end and all(_lives(pid) for pid in pair):
        sleep(0.01)
    if not all(_lives(pid) for pid in pair):
        codes = [_ended(pid) for pid in pair]
        if any(codes):
            raise RuntimeError(f"{codes}\n" + path.with_suffix(".log").read_text()[-3000:])
        return False
    both = sign != signal.SIGKILL and chance.random() < 0.5
    for pid in pair if both else [chance.choice(pair)]:
        os.kill(pid, sign)
    end = perf_counter() + GRACE.get(sign, 60.0)
    while perf_counter() < end and any(map(_lives, pair)):
        sleep(0.01)
    done["survivors that hung"] += any(map(_lives, pair))
    for pid in filter(_lives, pair):
        os.kill(pid, signal.SIGKILL)
    codes = [_ended(pid) for pid in pair]
    if not any(codes):
        return False
    if sign != signal.SIGKILL:
        _check(path, codes, done, sign)
    done["kills"] += 1
    return True


def _check(path: Path, codes: list[int], done: dict[str, int], sign: signal.Signals) -> None:
    """Both exited with the signal's code, or one had no handler yet; no step is lost."""
    # The other process loses one that a signal ends before both train.
    if not {*codes} <= {128 + sign, -sign} and not {*codes} & {128 + sign, -sign}:
        raise RuntimeError(f"{codes}\n" + path.with_suffix(".log").read_text()[-3000:])
    for run in (path, *path.glob("controls/*")):
        latest = run / "checkpoints" / "latest"
        saved = int(latest.read_text().split("-")[1]) if latest.exists() else 0
        lines = (run / "metrics.jsonl").read_text().splitlines() if saved else []
        done["steps repeated"] += max((json.loads(x)["step"] for x in lines), default=0) - saved


_codes: dict[int, int] = {}


def _lives(pid: int) -> bool:
    if pid not in _codes:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _codes[pid] = os.waitstatus_to_exitcode(status)
    return pid not in _codes


def _ended(pid: int) -> int:
    while _lives(pid):
        sleep(0.01)
    return _codes[pid]


def _pair(path: Path, size: int) -> list[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [_fork(path, rank, port, size) for rank in range(size)]


def _fork(path: Path, rank: int, port: int, size: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    log = os.open(path.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if size > 1:
        os.environ |= {
            "RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
    wanted = (f"training.epochs={EPOCHS}", "checkpoints.every=1", EVERY)
    changes = [word for change in wanted for word in ("--set", change)]
    sys.argv = ["addkit", "train", *RECIPE, "--run-dir", str(path), "--resume", *changes]
    from addkit.cli.main import main

    code: object = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)
