"""`addkit serve` as a command: what it refuses, and processes that are stopped."""

from __future__ import annotations

import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.serving.server import ServerOptions, is_loopback, listening

Cli = Callable[..., Any]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_other_addresses_need_a_token(host: str, addkit: Cli, digits_run: Path) -> None:
    result = addkit("serve", digits_run, "--host", host)
    assert result.code == 2
    assert "--token" in result.err


def test_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.3.2.1", "::1")))


@pytest.mark.parametrize("token", ["ü", "a\nb"])
def test_a_token_must_fit_a_header(token: str, addkit: Cli, digits_run: Path) -> None:
    assert addkit("serve", digits_run, "--token", token).code == 2


def test_a_port_in_use(addkit: Cli, digits_run: Path) -> None:
    with listening(ServerOptions(port=0)) as sock:
        port = sock.getsockname()[1]
        result = addkit("serve", digits_run, "--port", port)
    assert result.code == 2
    assert str(port) in result.err


def test_without_its_packages(
    addkit: Cli, digits_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "addkit.serving.server", None)
    result = addkit("serve", digits_run)
    assert result.code == 2
    assert "addkit[serve]" in result.err


def test_until_a_signal(
    digits_run: Path, digit_images: list[Path], fork_server: Any, tmp_path: Path
) -> None:
    words = ("serve", digits_run, "--port", "0")
    process = fork_server.start("addkit", *words, cwd=tmp_path)
    end = time.monotonic() + 120
    while not process.out.exists() or not (address := process.out.read_text("utf-8").strip()):
        assert process.poll() is None, process.err.read_text("utf-8")
        assert time.monotonic() < end
        time.sleep(0.05)
    body = b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n"
    body += digit_images[0].read_bytes() + b"\r\n--x--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=x"}
    for _ in range(4):
        request = urllib.request.Request(f"{address}/predict", body, kind)
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status == 200
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as response:
        assert b'addkit_requests_total{status="200"} 4.0' in response.read()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in errors
