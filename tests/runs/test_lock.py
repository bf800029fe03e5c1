from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import RunError
from addkit.runs import lock
from addkit.runs.lock import locked

HOLDER = """
import os, sys
from pathlib import Path
from addkit.runs import lock

if sys.argv[2] == "file":
    lock.fcntl = None
with lock.locked(Path(sys.argv[1])):
    forked = sys.argv[3] == "fork"
    child = forked and not os.fork()
    if child or not forked:
        print("held", flush=True)
    sys.stdin.read()
    if child:
        os._exit(0)
"""


@pytest.fixture(params=["kernel", "file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the lock is held: by flock, or by the file's being there."""
    if request.param == "file":
        monkeypatch.setattr(lock, "fcntl", None)
    return str(request.param)


@contextmanager
def _holder(run: Path, way: str, fork: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-W", "ignore", "-c", HOLDER, str(run), way, fork]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_free_run_can_be_locked_again_and_again(tmp_path: Path, way: str) -> None:
    for _ in range(2):
        with locked(tmp_path / "new"):
            held = json.loads((tmp_path / "new" / "lock").read_text())
            assert held["host"] == socket.gethostname()
            assert held["pid"] == os.getpid()
            assert held["started"].endswith("+00:00")
            assert isinstance(held["command"], str)
        assert list((tmp_path / "new").iterdir()) == []


def test_the_lock_is_freed_by_an_error(tmp_path: Path, way: str) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with locked(tmp_path):
        pass


def test_a_second_writer_is_refused(tmp_path: Path, way: str) -> None:
    with _holder(tmp_path, way) as holder:
        with pytest.raises(RunError) as told, locked(tmp_path):
            pass
        since = json.loads((tmp_path / "lock").read_text())["started"]
        assert str(told.value).startswith(
            f"{tmp_path}: is being written by process {holder.pid} on {socket.gethostname()} "
            f"since {since}; stop it, or choose another folder with --run-dir"
        )
        assert ("; if it is gone, delete " in str(told.value)) == (way == "file")
        holder.communicate("")
    with locked(tmp_path):
        pass


def test_kill_9_frees_the_lock(tmp_path: Path, way: str) -> None:
    with _holder(tmp_path, way) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert (tmp_path / "lock").exists()
        with locked(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_kill_9_frees_the_lock_though_a_data_worker_lives_on(tmp_path: Path) -> None:
    with _holder(tmp_path, "kernel", "fork") as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(tmp_path):
            pass


def test_a_lock_within_a_lock_is_refused(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(RunError, match=f"by process {os.getpid()} on "),
        locked(tmp_path),
    ):
        pass


def test_a_run_that_is_moved_away_takes_its_lock_along(tmp_path: Path, way: str) -> None:
    run = tmp_path / "run"
    with locked(run):
        run.rename(tmp_path / "old")
        run.mkdir()
        (run / "lock").write_text("another's")
    assert (run / "lock").read_text() == "another's"


def test_a_file_that_is_deleted_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, flock = [], lock.fcntl.flock

    def late(descriptor: int, how: int) -> None:
        if not opened:
            (tmp_path / "lock").unlink()
        opened.append(descriptor)
        flock(descriptor, how)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with locked(tmp_path):
        assert (tmp_path / "lock").exists()
    assert len(opened) == 2


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with _holder(tmp_path, "file"), pytest.raises(RunError, match="if it is gone, delete"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


GONE = 4_000_000
"""No process has this id: Linux gives none above 4,194,304, and other systems fewer."""


@pytest.mark.parametrize(
    ("holder", "free"),
    [
        ({"host": socket.gethostname(), "pid": GONE}, True),
        ({"host": socket.gethostname(), "pid": os.getpid()}, True),
        ({"host": socket.gethostname(), "pid": os.getppid()}, False),
        ({"host": socket.gethostname() + "-2", "pid": GONE}, False),
        ({"host": socket.gethostname()}, True),
        ([], True),
    ],
)
def test_who_holds_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Any, free: bool
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / "lock").write_text(json.dumps(holder))
    if free:
        with locked(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    else:
        with pytest.raises(RunError, match=r"since unknown; .*; if it is gone, delete .*lock"):
            locked(tmp_path).__enter__()


@pytest.mark.parametrize("content", ["", "{"])
def test_a_file_that_nobody_has_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / "lock").write_text(content)
    with locked(tmp_path):
        pass


def test_processes_of_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert lock._runs(1)


def test_where_a_signal_would_end_the_process_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", None)
    monkeypatch.setattr(sys, "platform", "win32")
    assert lock._runs(GONE)


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*args: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(RunError, match=r"lock: cannot be written: Read-only .*folder writable"):
        locked(tmp_path).__enter__()


def test_readers_see_whether_somebody_writes(tmp_path: Path, way: str) -> None:
    assert not lock.is_locked(tmp_path)
    with _holder(tmp_path, way) as process:
        assert lock.is_locked(tmp_path)
        process.kill()
        process.wait()
        assert not lock.is_locked(tmp_path)
