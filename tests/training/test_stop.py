"""Signals: heard, saved, gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.cli.progress import LiveView
from addkit.distributed.signals import StopSignals
from addkit.errors import Stopped
from addkit.evaluation.batches import Evaluator
from addkit.runs.checkpoint import load_tensors
from addkit.runs.checkpoint_files import checkpoint_of
from addkit.training.engine import LossModule
from addkit.training.trainer import StepReport, Trainer

Cli = Callable[..., Any]
Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]

SETS = [
    word
    for change in (
        *("encoder.widths=[4, 8]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("training.epochs=2", "training.evaluate_every=1", "checkpoints.every=2"),
        "control.heads=[]",
    )
    for word in ("--set", change)
]
CODES = [
    (signal.SIGTERM, 143),
    (signal.SIGUSR1, 143),
    (signal.SIGINT, 130),
    (signal.SIGHUP, 129),
]
NAMES = {signal.SIGINT: "Ctrl-C"}


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_is_remembered(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, StopSignals("advice") as stop:
        with stop.deferred():
            assert stop.exit_code == 0
            os.kill(os.getpid(), number)
            assert stop.exit_code == code
            assert stop.why == f"stopped by {NAMES.get(number, number.name)}"
        pytest.fail("a signal that nobody obeyed counts at the end")
    assert (stopped.value.exit_code, str(stopped.value)) == (code, f"{stop.why}; advice")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [number for number, _ in CODES])
def test_a_signal_ends_what_defers_it_for_too_long(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addkit.distributed.signals.PATIENCE", 0.05)
    done = []
    with pytest.raises(Stopped), StopSignals() as stop, stop.deferred():
        with stop.deferred(deadline=False):
            os.kill(os.getpid(), number)
            time.sleep(0.1)
            done.append("a save")
        time.sleep(5)
        done.append("too late")
    assert done == ["a save"]


@pytest.mark.parametrize("number", [number for number, _ in CODES])
def test_a_signal_is_no_error_of_a_file(number: signal.Signals) -> None:
    with pytest.raises(Stopped), StopSignals(), suppress(Exception):
        os.kill(os.getpid(), number)
        time.sleep(5)


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.exit_code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_hears_nothing() -> None:
    before, heard = signal.getsignal(signal.SIGTERM), []

    def listen() -> None:
        with StopSignals() as stop:
            heard.append((signal.getsignal(signal.SIGTERM) is before, stop.why))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert heard == [(True, "stopped with another process")]


SECOND = """
import os, signal
from addkit.distributed.signals import StopSignals
with StopSignals() as stop, stop.deferred():
    os.kill(os.getpid(), signal.SIGINT)
    print("still here", flush=True)
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        print("not at once", flush=True)
"""


def test_a_second_ctrl_c_leaves_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (130, "still here\n")


def _stored(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = checkpoint_of(run / "checkpoints")
    assert checkpoint is not None
    return {
        f"{file.stem}: {name}": tensor.clone()
        for file in sorted(checkpoint.glob("*.safetensors"))
        for name, tensor in load_tensors(file).items()
    }


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody has stopped."""
    from addkit.model import build_data
    from addkit.recipe import read_recipe
    from addkit.runs import Run
    from addkit.training.train import train

    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "digits.toml", SETS[1::2])
    run = Run.create(tmp_path_factory.mktemp("straight") / "run", recipe, build_data(recipe).facts)
    train(recipe, run, device="cpu")
    return run.path


def _rest(addkit: Cli, words: list[Any], straight: Path, same: Same) -> None:
    assert addkit(*words, "--resume").code == 0
    assert same(_stored(straight), _stored(Path("r")))


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_training_saves_at_the_step_and_goes_on_to_the_same_bits(
    addkit: Cli,
    recipes: Path,
    monkeypatch: pytest.MonkeyPatch,
    straight: Path,
    same: Same,
    number: signal.Signals,
    code: int,
) -> None:
    def step(self: LiveView, trainer: Trainer, report: StepReport) -> None:
        if report.step == 6:
            os.kill(os.getpid(), number)

    words = ["train", recipes / "digits.toml", "--run-dir", "r", *SETS]
    with monkeypatch.context() as patch:
        patch.setattr(LiveView, "step", step)
        said = addkit(*words)
    assert said.code == code
    why = f"stopped by {NAMES.get(number, number.name)}"
    assert said.err.splitlines()[-1] == f"{why}; saved after step 6; continue with --resume"
    assert (Path("r") / "checkpoints" / "latest").read_text().strip() == "step-00000006"
    _rest(addkit, words, straight, same)


def test_a_signal_during_an_evaluation_saves_what_no_checkpoint_has_yet(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch, straight: Path, same: Same
) -> None:
    score = Evaluator.score

    def stopped(*words: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return score(*words, **more)

    words = ["train", recipes / "digits.toml", "--run-dir", "r", *SETS]
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "score", stopped)
        said = addkit(*words)
    assert said.code == 143
    assert said.err.splitlines()[-1].startswith("stopped by SIGTERM; saved after step 19;")
    assert (Path("r") / "checkpoints" / "latest").read_text().strip() == "step-00000019"
    _rest(addkit, words, straight, same)


PHASES = {
    "addkit.training.location.build_data": ("train", "digits", "--run-dir", "new"),
    "addkit.training.trainer.build_data": ("train", "digits", "--run-dir", "new"),
    "addkit.training.trainer.build_network": ("train", "digits", "--run-dir", "new"),
    "addkit.data.loader.Loader.batches": ("train", "digits", "--run-dir", "new"),
    "addkit.training.trainer.scale_and_clip": ("train", "digits", "--run-dir", "new"),
    "addkit.evaluation.batches.Evaluator.predict_batches": ("evaluate", "--run", "r"),
    "addkit.evaluation.run.build_data": ("evaluate", "--run", "r"),
    "addkit.report.page.write_page": ("report", "r"),
    "addkit.model.predictor.read_ahead": ("sample", "x.png", "--run", "r"),
    "addkit.data.shards.write.write_shards": ("data", "shard", "digits", "out"),
    "addkit.ablation.worker._start": ("ablate", "digits", "--loss", "mse", "--seeds", "1"),
    "addkit.planning.dry_run.build_data": ("train", "digits", "--dry-run"),
}
"""What takes long -> a command that does it."""


@pytest.mark.parametrize("place", PHASES)
def test_a_signal_is_obeyed_in_every_phase(
    addkit: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, straight: Path, place: str
) -> None:
    number = list(CODES)[len(place) % len(CODES)][0]

    def long(*words: Any, **more: Any) -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr("addkit.distributed.signals.PATIENCE", 0.1)
    monkeypatch.setattr(place, long)
    (tmp_path / "r").symlink_to(straight)
    (tmp_path / "x.png").touch()
    words = PHASES[place]
    small = SETS if words[0] in ("train", "ablate") else ()
    begin = time.monotonic()
    assert addkit(*words, *small).code == dict(CODES)[number]
    assert time.monotonic() - begin < 30


def test_a_step_that_is_cut_short_leaves_nothing(
    addkit: Cli, recipes: Path, monkeypatch: pytest.MonkeyPatch, straight: Path, same: Same
) -> None:
    forward, count = LossModule.forward, iter(range(100))

    def long(*words: Any, **more: Any) -> Any:
        done = forward(*words, **more)
        if next(count) == 6:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(60)
        return done

    words = ["train", recipes / "digits.toml", "--run-dir", "r", *SETS]
    with monkeypatch.context() as patch:
        patch.setattr("addkit.distributed.signals.PATIENCE", 0.1)
        patch.setattr(LossModule, "forward", long)
        said = addkit(*words)
    assert said.code == 129
    assert "saved after step 3" in said.err
    _rest(addkit, words, straight, same)
