"""`kill`: signals at random moments of a digits run, then --resume, until it ends.

SIGKILL, SIGTERM, SIGINT and SIGHUP hit trainings of one process, of two that a third one watches,
and ablations of two trainings at a time; SIGKILL any of the processes, the others the command. A
killed run that ended is compared with an uninterrupted one: every final weight of ADD and of its
control, raw and averaged, must be equal to the bit. Where a run ends before all kills are spent,
the next run begins. Moments are uniform from just before the run folder appears to the end, and
drawn anew for each resuming process, which may end before its moment comes. A checkpoint is written
every half second, so that kills meet the writing, too.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import torch
from measure import ROOT, Options, Row, Target, note
from safetensors.torch import load_file

COMMAND = str(Path(sys.executable).with_name("addkit"))
RECIPE = [str(ROOT / "recipes" / "digits.toml"), "--json"]
EPOCHS = 6
SLOWEST = 10
"""A session may take this many times the uninterrupted run before it counts as hung."""


EVERY = "checkpoints.minutes=0.008"
ABLATION = 0
"""Number of processes that stands for an ablation, `--jobs 2`."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CASES = tuple((processes, sign) for processes in (1, 2, ABLATION) for sign in SIGNALS)
"""Number of processes and the signal."""
PATIENCE = 60.0
"""Seconds within which a killed command must have ended."""
TRIES = 10
"""Runs for each kill at most: a kill can come too late."""


class SessionError(RuntimeError):
    """A process that was not killed failed."""


@dataclass(slots=True, kw_only=True)
class Reference:
    """The uninterrupted run."""

    path: Path
    processes: int
    signal: int
    epochs: int
    begin: float
    """Seconds until its folder appeared."""
    end: float
    """Seconds in all; of the fastest run, so that few kills come too late."""

    def moment(self, chance: random.Random) -> float:
        """When to kill, in seconds after the start."""
        return chance.uniform(0.9 * self.begin, self.end)


@dataclass(slots=True)
class Count:
    """Counts of the benchmark."""

    kills: int = 0
    resumed: int = 0
    """Kills after which the next session continued, to its own kill or to the end."""
    runs: int = 0
    """Runs that were killed at least once, and ended."""
    equal: int = 0


def rows(options: Options) -> Iterator[Row]:
    """Shares of kills that were survived and of runs that ended equal."""
    kills = 2 if options.quick else options.kills
    for processes, sign in CASES:
        yield from _case(processes, sign, kills, 2 if options.quick else EPOCHS)


def _case(processes: int, sign: int, kills: int, epochs: int) -> Iterator[Row]:
    kind = f"{processes} process{'es' if processes > 1 else ''}" if processes else "ablation"
    name = f"kill, {kind}, {signal.Signals(sign).name}"
    with tempfile.TemporaryDirectory() as folder:
        reference = _reference(Path(folder), processes, sign, epochs)
        note(f"  {name}: uninterrupted {reference.end:.1f} s")
        count = _count(Path(folder), reference, kills)
    if count.kills == 0:
        raise RuntimeError("every kill came too late")
    done = f"{count.kills} kills, {count.resumed} resumed; {count.runs} killed runs"
    yield Row(
        name=name,
        compares="kills after which --resume went on / kills",
        values=[count.resumed / count.kills],
        target=Target(1.0, at_least=True),
        note=f"{done}, {count.equal} of them equal to the bit",
    )
    yield Row(
        name=name,
        compares="killed runs whose final weights equal the uninterrupted run's / killed runs",
        values=[count.equal / count.runs],
        target=Target(1.0, at_least=True),
    )


def _reference(folder: Path, processes: int, sign: int, epochs: int) -> Reference:
    path = folder / "reference"
    start = perf_counter()
    process = _start(path, processes, epochs)
    while process.poll() is None and not next(path.rglob("recipe.toml"), None):
        sleep(0.01)
    begin = perf_counter() - start
    if process.wait() != 0:
        raise SessionError(_complaint(path, "the uninterrupted run failed"))
    end = perf_counter() - start
    return Reference(
        path=path, processes=processes, signal=sign, epochs=epochs, begin=begin, end=end
    )


def _count(folder: Path, reference: Reference, kills: int) -> Count:
    """Start runs until all kills are spent; the last run is finished."""
    chance, count = random.Random(0), Count()
    number = 0
    while count.kills < kills and number < TRIES * kills:
        path = folder / f"run-{number}"
        number += 1
        killed, failure = _life(path, reference, chance, kills - count.kills)
        if killed:
            count.kills += killed
            count.resumed += killed - bool(failure)
            count.runs += 1
            count.equal += not failure and _equal(path, reference.path)
        note(failure or f"  {count.kills} kills, {count.runs} runs, {count.equal} of them equal")
    return count


def _life(path: Path, reference: Reference, chance: random.Random, most: int) -> tuple[int, str]:
    """Finish one run; returns the number of kills, and the reason if it did not finish."""
    killed, start = 0, perf_counter()
    try:
        while _session(path, reference, chance, kill=killed < most):
            killed += 1
    except SessionError as error:
        return killed, str(error)
    if not killed:
        reference.end = min(reference.end, perf_counter() - start)
    return killed, ""


def _session(path: Path, reference: Reference, chance: random.Random, *, kill: bool) -> bool:
    """One command, new or resuming; True if it was killed, False if it finished.

    Raises:
        SessionError: it failed by itself, or hung.
    """
    process = _start(path, reference.processes, reference.epochs)
    patience = SLOWEST * reference.end
    try:
        code = process.wait(reference.moment(chance) if kill else patience)
    except subprocess.TimeoutExpired:
        if not kill:
            process.kill()
            process.wait()
            raise SessionError(_complaint(path, "a resumed run hung")) from None
        return _killed(process, path, reference, chance)
    if code != 0:
        raise SessionError(_complaint(path, f"a resumed run ended with exit code {code}"))
    return False


def _killed(
    process: subprocess.Popen[bytes], path: Path, reference: Reference, chance: random.Random
) -> bool:
    """Kill the command or one of its processes, and wait until it has ended.

    Signals that ask go to the command, as from a scheduler or a terminal, and must end in saving:
    their exit code, or the signal itself where Python was still starting.
    """
    stops = reference.signal != signal.SIGKILL
    victims = [process.pid] if stops else [process.pid, *_children(process.pid)]
    try:
        os.kill(chance.choice(victims), reference.signal)
    except ProcessLookupError:  # It has just ended.
        return process.wait() != 0
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise SessionError(_complaint(path, "a killed run did not end")) from None
    if stops and code not in (0, 128 + reference.signal, -reference.signal):
        name = signal.Signals(reference.signal).name
        raise SessionError(_complaint(path, f"{name} ended in exit code {code}"))
    return code != 0


def _children(pid: int) -> list[int]:
    """The training processes that a command watches; none on systems without /proc."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in file.read_text().split()] if file.exists() else []


def _start(path: Path, processes: int, epochs: int) -> subprocess.Popen[bytes]:
    words = ["train", *RECIPE, "--run-dir", str(path), "--processes", str(processes), "--resume"]
    if processes == ABLATION:
        words = ["ablate", *RECIPE, "--loss", "mse", "--seeds", "1", "--jobs", "2"]
        words += ["--store", str(path)]
    command = [COMMAND, *words]
    wanted = (f"training.epochs={epochs}", "checkpoints.every=1", EVERY)
    changes = [word for change in wanted for word in ("--set", change)]
    with path.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [*command, *changes],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )


def _complaint(path: Path, what: str) -> str:
    said = path.with_suffix(".log").read_text("utf-8").strip().splitlines()[-3:]
    return "\n".join([what, *said])


def _equal(path: Path, reference: Path) -> bool:
    """All final weights, ADD's and the controls', to the bit."""
    wanted, found = weights_of(reference), weights_of(path)
    return wanted.keys() == found.keys() and all(
        torch.equal(wanted[name], found[name]) for name in wanted
    )


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """`run: file: tensor` -> tensor of the last checkpoints of all runs in a folder."""
    weights: dict[str, torch.Tensor] = {}
    for latest in sorted(path.rglob("checkpoints/latest")):
        run = latest.parents[1].relative_to(path)
        for kind in ("raw", "ema"):
            file = latest.with_name(latest.read_text("utf-8").strip()) / f"{kind}.safetensors"
            weights |= {f"{run}: {kind}: {name}": x for name, x in load_file(file).items()}
    return weights
