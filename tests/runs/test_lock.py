from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from addkit.errors import RunError
from addkit.runs import lock
from addkit.runs.lock import locked

HOLDER = """
import errno, fcntl, os, sys
from pathlib import Path
from addkit.runs import lock

def refuse(descriptor, how):
    raise OSError(errno.ENOLCK, "no locks")

if sys.argv[2] == "marker":
    fcntl.flock = refuse
with lock.locked(Path(sys.argv[1])):
    forked = sys.argv[3] == "fork"
    child = forked and not os.fork()
    if child or not forked:
        print("held", flush=True)
    sys.stdin.read()
    if child:
        os._exit(0)
"""


def _without_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    """Simulate a file system whose files cannot be locked."""

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture(params=["kernel", "marker"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel's lock, or filelock's marker file where there is none."""
    if request.param == "marker":
        _without_locks(monkeypatch)
    return str(request.param)


@contextmanager
def _holder(run: Path, kind: str, fork: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    command = [sys.executable, "-W", "ignore", "-c", HOLDER, str(run), kind, fork]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_free_run_can_be_locked_again_and_again(tmp_path: Path, kind: str) -> None:
    for _ in range(2):
        with locked(tmp_path / "new"):
            if kind == "kernel":
                held = json.loads((tmp_path / "new" / "lock").read_text())
                assert held["host"] == socket.gethostname()
                assert held["pid"] == os.getpid()
                assert held["started"].endswith("+00:00")
                assert isinstance(held["command"], str)
        assert list((tmp_path / "new").iterdir()) == []


def test_the_lock_is_freed_by_an_error(tmp_path: Path, kind: str) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with locked(tmp_path):
        pass


def test_a_second_writer_is_refused(tmp_path: Path, kind: str) -> None:
    with _holder(tmp_path, kind) as holder:
        with pytest.raises(RunError) as raised, locked(tmp_path):
            pass
        text = str(raised.value)
        assert text.startswith(f"{tmp_path}: is being written by process {holder.pid} on ")
        assert f" on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-}" in text
        assert "--run-dir" in text
        assert ("; if it is gone, delete " in text) == (kind == "marker")
        holder.communicate("")
    with locked(tmp_path):
        pass


def test_kill_9_frees_the_lock(tmp_path: Path, kind: str) -> None:
    with _holder(tmp_path, kind) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert (tmp_path / ("lock" if kind == "kernel" else "lock.marker")).exists()
        with locked(tmp_path), pytest.raises(RunError, match=f"by process {os.getpid()} on "):
            locked(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


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


def test_a_run_that_is_moved_away_takes_its_lock_along(tmp_path: Path, kind: str) -> None:
    run = tmp_path / "run"
    with locked(run):
        run.rename(tmp_path / "old")
        run.mkdir()
        (run / "lock").write_text("another's")
    assert (run / "lock").read_text() == "another's"


def test_a_file_that_is_deleted_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, flock = [], fcntl.flock

    def late(descriptor: int, how: int) -> None:
        if not opened:
            (tmp_path / "lock").unlink()
        opened.append(descriptor)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(tmp_path):
        assert (tmp_path / "lock").exists()
    assert len(opened) == 3  # And once to unlock.


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _without_locks(monkeypatch, number)
    with _holder(tmp_path, "marker"), pytest.raises(RunError, match="if it is gone, delete"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        assert lock.is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_s_lock_counts_where_locks_have_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _holder(tmp_path, "kernel") as holder:
        _without_locks(monkeypatch)
        with pytest.raises(RunError, match=f"process {holder.pid} on .*; if it is gone, delete"):
            locked(tmp_path).__enter__()


GONE = 4_000_000
"""No process has this id: Linux gives none above 4,194,304, and other systems fewer."""


@pytest.mark.parametrize(("host", "free"), [("", True), ("another", False)])
def test_a_marker_whose_owner_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, free: bool
) -> None:
    _without_locks(monkeypatch)
    with locked(tmp_path):
        own = (tmp_path / "lock.marker").read_text()
    text = re.sub(r"pid=\d+", f"pid={GONE}", own)
    (tmp_path / "lock.marker").write_text(re.sub("host=.*", f"host={host}", text) if host else text)
    assert lock.is_locked(tmp_path) != free
    (tmp_path / "lock.marker").write_text(re.sub("host=.*", f"host={host}", text) if host else text)
    if free:
        with locked(tmp_path):
            assert (tmp_path / "lock.marker").read_text() == own
    else:
        with pytest.raises(RunError, match=f"process {GONE} on another since 20.*; if it is gone"):
            locked(tmp_path).__enter__()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_file_that_is_not_signed_is_no_lock(tmp_path: Path, kind: str, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    assert not lock.is_locked(tmp_path)
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*args: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(RunError, match=r"lock: cannot be written: Read-only .*folder writable"):
        locked(tmp_path).__enter__()


def test_readers_see_whether_somebody_writes(tmp_path: Path, kind: str) -> None:
    assert not lock.is_locked(tmp_path)
    with _holder(tmp_path, kind) as process:
        assert lock.is_locked(tmp_path)
        process.kill()
        process.wait()
        assert not lock.is_locked(tmp_path)


def test_a_broken_disk_is_no_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_locks(monkeypatch, errno.EIO)
    with pytest.raises(RunError):
        locked(tmp_path).__enter__()
    assert not (tmp_path / "lock.marker").exists()


@pytest.mark.parametrize(
    ("name", "content", "left"),
    [
        ("lock", "", True),
        ("lock", '{"pid": 1}', True),
        ("lock", "my notes", False),
        ("locks", "", False),
        ("lock.marker", "", True),
    ],
)
def test_a_lock_differs_from_a_file_of_that_name(
    tmp_path: Path, name: str, content: str, left: bool
) -> None:
    (tmp_path / name).write_text(content)
    assert lock.is_lock(tmp_path / name) == left
