"""Packs by URL: size, checksum, redirects, half answers, and the cache."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import addkit
from addkit.errors import RunError, UsageError
from addkit.runs import remote
from addkit.runs.remote import cache_folder, download, hub_folder

from .servers import Hub


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def _cached() -> list[Path]:
    return sorted(cache_folder().glob("*")) + sorted(cache_folder().glob(".*"))


def test_a_checksum_is_compared_and_saves_a_download(web: Any) -> None:
    content = b"x" * 3_000_000
    digest = hashlib.sha256(content).hexdigest()
    with web(lambda _: (200, {}, content)) as (url, log):
        file, found = download(f"{url}/a/digits%20(1).zip?token=x")
        assert (file.read_bytes(), found) == (content, digest)
        assert file.name.endswith("-digits-20-1-.zip")
        assert download(f"{url}/a/b.zip#sha256={digest}") == download(f"{url}/a/b.zip")
        assert len(log) == 3
        assert download(f"{url}/a/b.zip#sha256={digest}")[1] == digest
        assert len(log) == 3
        before = _cached()
        with pytest.raises(RunError, match=digest):
            download(f"{url}/a/c.zip#sha256={'0' * 64}")
        # A file in the cache that was altered is fetched again.
        file = download(f"{url}/a/b.zip")[0]
        file.write_bytes(b"y")
        assert download(f"{url}/a/b.zip#sha256={digest}")[0].read_bytes() == content
    assert _cached() == before
    # The server is gone; the cache is not.
    assert download(f"{url}/a/b.zip#sha256={digest}")[1] == digest
    with pytest.raises(RunError, match="cannot be reached"):
        download(f"{url}/a/b.zip")
    assert _cached() == before


def _without_length(count: int) -> Callable[[Any], None]:
    def answer(request: Any) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        try:
            for _ in range(count):
                request.wfile.write(b"x" * 100_000)
        except OSError:
            pass
        request.close_connection = True

    return answer


def test_sizes(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADDKIT_MAX_DOWNLOAD_MB", "2")
    for answer in (lambda _: (200, {}, b"x" * 2_000_001), _without_length(200)):
        with web(answer) as (url, _), pytest.raises(RunError, match="ADDKIT_MAX_DOWNLOAD_MB"):
            download(f"{url}/x.zip")
    with web(_without_length(20)) as (url, _):
        assert download(f"{url}/x.zip")[0].stat().st_size == 2_000_000
    for text in ("0", "-1", "many", "1e3", "9" * 20):
        monkeypatch.setenv("ADDKIT_MAX_DOWNLOAD_MB", text)
        with pytest.raises(UsageError, match="ADDKIT_MAX_DOWNLOAD_MB"):
            download("http://127.0.0.1/x.zip")


def _broken_off(request: Any) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"x" * 999)
    request.close_connection = True


def _reset(request: Any) -> None:
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    request.connection.close()
    request.close_connection = True
    request.wfile, request.rfile = _Closed(), _Closed()


class _Closed:
    closed = True

    def close(self) -> None: ...

    def flush(self) -> None: ...


def test_half_answers_are_not_used(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (_broken_off, _reset):
        with web(answer) as (url, _), pytest.raises(RunError, match="broke off"):
            download(f"{url}/x.zip")
    for status in (404, 500):
        with (
            web(lambda _, status=status: (status, {}, b"")) as (url, _),
            pytest.raises(RunError, match=str(status)),
        ):
            download(f"{url}/x.zip")
    monkeypatch.setattr(remote, "SECONDS", 0.1)
    with (
        web(lambda request: request.connection.recv(1) and None) as (url, _),
        pytest.raises(RunError, match="timed out"),
    ):
        download(f"{url}/x.zip")
    assert _cached() == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "/again", "https://[/"]
)
def test_redirects(web: Any, target: str) -> None:
    with web(lambda _: (302, {"Location": target}, b"")) as (url, _), pytest.raises(RunError):
        download(f"{url}/x.zip")
    assert _cached() == []


def test_a_redirect_to_the_same_scheme(web: Any, digits_pack: Path) -> None:
    def answer(request: Any) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/new":
            return 200, {}, digits_pack.read_bytes()
        return 302, {"Location": "/new"}, b""

    with web(answer) as (url, _):
        assert addkit.load(f"{url}/old").weights == "ema"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://x/y.zip",
            "file:///x.zip",
            "https://",
            "http:///x",
            "https://x:" + "99999/",
            "x://y",
        ),
        *("https://user:word@host/x", "https://host/x y", "https://hôst/x", "https://[/x"),
        *("https://host/x#sha256=12", "https://host/x#part", "hf://", "hf://a", "hf://a/b@"),
        "hf://a/b/c",
    ],
)
def test_no_urls(url: str) -> None:
    with pytest.raises(UsageError):
        addkit.load(url)


def test_what_a_server_sends_is_checked(web: Any) -> None:
    page = b"<html>Log in</html>"
    with web(lambda _: (200, {}, page)) as (url, _), pytest.raises(RunError, match="no pack"):
        addkit.load(f"{url}/x.zip")


def test_repositories_that_are_no_packs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commits["org/other"] = [{"pytorch_model.bin": b"x", "README.md": b"x"}]
    with pytest.raises(RunError, match="no pack"):
        hub_folder("hf://org/other")
    assert not [line for line in hub.log if "pytorch_model.bin" in line]
    for name, match in (("org/none", "no such repository"), ("org/other@v9", "no such branch")):
        with pytest.raises(RunError, match=match):
            hub_folder(f"hf://{name}")
    with pytest.raises(UsageError, match="no name of a repository"):
        hub_folder("hf://org/--x..")


def test_sizes_of_a_hub(
    hub: Hub, digits_pack: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import zipfile

    with zipfile.ZipFile(digits_pack) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    # More than its checksums list.
    hub.commits["org/large"] = [{**files, "model.safetensors": b"x" * 1_000_001}]
    monkeypatch.setenv("ADDKIT_MAX_DOWNLOAD_MB", "1")
    with pytest.raises(RunError, match="ADDKIT_MAX_DOWNLOAD_MB"):
        hub_folder("hf://org/large")
    assert not [line for line in hub.log if line.startswith("GET") and "model.safe" in line]
    monkeypatch.delenv("ADDKIT_MAX_DOWNLOAD_MB")
    with pytest.raises(RunError, match="altered"):
        addkit.load("hf://org/large")
