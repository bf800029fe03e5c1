"""Processes that share a socket: one that dies is replaced, and a signal ends all."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from addkit.errors import AddkitWarning, RunError
from addkit.serving.processes import supervise
from addkit.serving.server import ServerOptions, listening

from .light_work import echo, fail


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with listening(ServerOptions(port=0)) as sock:
        yield sock


def ask(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text)
        with suppress(ConnectionResetError):
            return connection.recv(100)
    return b""


def test_a_process_that_dies_is_replaced_until_a_signal(sock: socket.socket) -> None:
    port, seen = sock.getsockname()[1], set[bytes]()

    def client() -> None:
        try:
            # Both of the first are killed, and others answer in their place.
            for _ in range(2):
                seen.add(ask(port, b"who"))
                ask(port, b"die")
            while len(seen) < 3:
                seen.add(ask(port, b"who"))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=client)
    with pytest.warns(AddkitWarning, match="exit code -9"):
        assert supervise(echo, sock, 2, thread.start) == signal.SIGTERM
    thread.join(20)
    assert len(seen - {b""}) >= 2
    with pytest.raises(ConnectionRefusedError):
        ask(port, b"who")


def test_a_process_that_cannot_start_ends_the_server(sock: socket.socket) -> None:
    with pytest.raises(RunError, match="exit code 5"):
        supervise(fail, sock, 2, lambda: None)
