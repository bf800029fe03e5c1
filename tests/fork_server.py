"""Commands as processes of their own that cost no import: forked from one that has imported.

Run as a script it is that process. It has one thread, no GPU and nothing of pytest's, so a child
differs from `python -m addkit ...` in its start alone; what a child starts itself imports anew.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

PLAIN = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
IMPORTED = (
    *("addkit.cli.train", "addkit.cli.launch", "addkit.training.train", "addkit.encoders.timm"),
    *("addkit.encoders.cnn", "addkit.tasks.attributes", "addkit.tasks.captioning"),
    *("torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor", "torchmetrics"),
    "torch.distributed.launcher.api",
)


class Forked:
    """A child of the server, with the part of `subprocess.Popen` that tests need."""

    def __init__(self, server: ForkServer, pid: int, out: Path, err: Path) -> None:
        self._server, self.pid = server, pid
        self.out, self.err = out, err
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask({"poll": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Wait for its end, and read what it has written."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.02)
        return self.out.read_text("utf-8"), self.err.read_text("utf-8")


class ForkServer:
    """The process that imports once, seen from the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, 0
        pipe = subprocess.PIPE
        environment = {**os.environ, **PLAIN}
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)

    def ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, target: str, *words: object, cwd: Path) -> Forked:
        """A module, as by `python -m`, or a script; its environment is this one, with `PLAIN`."""
        self._started += 1
        if "train" in words:
            words = (*words, "--no-report")  # A page takes longer than most trainings here.
        out, err = (self._folder / f"{self._started}.{kind}" for kind in ("out", "err"))
        request = {
            "start": [target, *map(str, words)],
            "cwd": str(cwd),
            "files": [os.devnull, str(out), str(err)],
            "environment": {**os.environ, **PLAIN},
        }
        return Forked(self, self.ask(request), out, err)

    def close(self) -> None:
        self._process.communicate()


def _serve() -> None:
    for name in IMPORTED:
        import_module(name)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "start" in request:
            told: int | None = os.fork()
            if not told:
                _child(**request)
        else:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            told = os.waitstatus_to_exitcode(status) if pid else None
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()


def _child(start: list[str], cwd: str, files: list[str], environment: dict[str, str]) -> NoReturn:
    """Run the module or script, and end as Python does."""
    # Tests that run in the background of a shell ignore interrupts, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY
        os.dup2(os.open(file, flags), number)
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - until the process ends
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    target, *words = start
    sys.argv = [target, *words]
    code: Any = 1
    try:
        if target.endswith(".py"):
            runpy.run_path(target, run_name="__main__")
        else:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve()
