"""What processes under `supervise` do in its tests: no model, and no import of torch."""

from __future__ import annotations

import os
import signal
import socket
from multiprocessing.synchronize import Semaphore


def echo(sock: socket.socket, ready: Semaphore) -> None:
    """Answer each connection with the process's number; `die` ends it as a crash does."""
    ready.release()
    while True:
        connection, _ = sock.accept()
        with connection:
            if connection.recv(10) == b"die":
                os.kill(os.getpid(), signal.SIGKILL)
            connection.sendall(str(os.getpid()).encode())


def fail(sock: socket.socket, ready: Semaphore) -> None:
    """End before it is ready."""
    raise SystemExit(5)
