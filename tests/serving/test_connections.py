"""Connections that are slow, broken or many, and the end of a server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.model import Predictor
from addkit.serving.server import GracefulServer

Start = Callable[..., tuple[GracefulServer, int]]


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def request(image: bytes) -> bytes:
    """A whole request for an answer."""
    edge = b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n"
    body = edge + image + b"\r\n--x--\r\n"
    return head(len(body), b"multipart/form-data; boundary=x") + body


def head(length: int, kind: bytes = b"application/json") -> bytes:
    lines = (b"POST /predict HTTP/1.1", b"Host: localhost", b"Content-Type: " + kind)
    return b"\r\n".join([*lines, b"Content-Length: %d" % length, b"", b""])


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def read_one(connection: socket.socket) -> int:
    """The status of the next response, whose body is read as well."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise EOFError
        data += part
    start, _, body = data.partition(b"\r\n\r\n")
    length = int(start.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(start[9:12])


@pytest.fixture(scope="module")
def image(digit_images: list[Path]) -> bytes:
    return digit_images[0].read_bytes()


def test_slow_senders_are_closed_and_others_served(listening_server: Start, image: bytes) -> None:
    _, port = listening_server(head_seconds=0.4, body_seconds=0.4)
    with connect(port) as silent, connect(port) as half, connect(port) as body:
        half.sendall(b"POST /predict HTTP/1.1\r\nHost: local")
        body.sendall(head(100) + b"{")
        with connect(port) as idle:
            idle.sendall(request(image))
            assert read_one(idle) == 200
            # An empty line begins no request.
            idle.sendall(b"\r\n")
            assert read_all(idle) == b""
        assert read_all(silent) == b""
        assert read_all(half) == b""
        assert read_all(body).startswith(b"HTTP/1.1 408 ")
    with connect(port) as other:
        other.sendall(request(image))
        assert read_one(other) == 200


def test_endless_headers_are_cut_off(listening_server: Start, image: bytes) -> None:
    _, port = listening_server(head=2000)
    with connect(port) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = 0
        with pytest.raises((ConnectionError, TimeoutError)):
            while True:
                sent += endless.send(bytes(b"x" * 1000))
                time.sleep(0.001)
        assert sent < 10**6


def test_broken_requests_leave_the_server_alive(listening_server: Start, image: bytes) -> None:
    _, port = listening_server()
    good = request(image)
    for cut in (b"\x00\xff" * 50, good[:30] + b"\x01" + good[31:], b"GET\r\n\r\n"):
        with connect(port) as broken:
            broken.sendall(cut + b"\r\n\r\n")
            assert read_all(broken).startswith((b"HTTP/1.1 4", b""))
    with connect(port) as other:
        other.sendall(good)
        assert read_one(other) == 200


def test_a_stopping_server_answers_what_it_was_sent(
    listening_server: Start, digits: Predictor, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, predict = threading.Event(), digits.predict
    server, port = listening_server()

    def slow(*arguments: Any, **settings: Any) -> Any:
        begun.set()
        time.sleep(0.6)
        return predict(*arguments, **settings)

    monkeypatch.setattr(digits, "predict", slow)
    with connect(port) as computing, connect(port) as queued, connect(port) as idle:
        computing.sendall(request(image))
        assert begun.wait(20)
        queued.sendall(request(image))
        server.should_exit = True
        while not server.service.stopping:
            time.sleep(0.005)
        # One that is sent while the server stops.
        idle.sendall(request(image))
        for connection in (computing, queued, idle):
            text = read_all(connection)
            assert text.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in text.lower()
    with pytest.raises((ConnectionError, TimeoutError)):
        while True:
            connect(port).close()
            time.sleep(0.05)
