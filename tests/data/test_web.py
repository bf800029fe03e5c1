from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from addkit.data import web
from addkit.data.web import Url, download, scheme_of
from addkit.errors import DataError


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/moved":
                self._head(302, Location="/a%20%C3%A9.png")
            case "/away":
                self._head(302, Location=Path(__file__).as_uri())
            case "/circle":
                self._head(302, Location="/circle")
            case "/a%20%C3%A9.png?x=1&y=2" | "/a%20%C3%A9.png":
                self._head(200)
                self.wfile.write(b"content")
            case "/short":
                self._head(200, **{"Content-Length": "99"})
                self.wfile.write(b"content")
            case "/large":
                self._head(200)
                self.wfile.write(bytes(5000))
            case "/silent":
                self.server.stopped.wait(5)  # type: ignore[attr-defined]
            case "/slow":
                self._head(200)
                while not self.server.stopped.wait(0.02):  # type: ignore[attr-defined]
                    self.wfile.write(b"x")
                    self.wfile.flush()
            case "/none":
                self.wfile.write(b"no http\r\n\r\n")
            case _:
                self.send_error(404)

    def _head(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    server = HTTPServer(("127.0.0.1", 0), Answers)
    server.stopped = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stopped.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/a é.png", "/a%20%C3%A9.png?x=1&y=2", "/moved"])
def test_content(server: str, path: str) -> None:
    assert download(Url(server + path)).read() == b"content"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/gone", "404"),
        ("/short", "92"),
        ("/large", "MiB"),
        ("/silent", "0.3 s"),
        ("/slow", "0.4 s"),
        ("/away", ""),
        ("/circle", "HTTP 302"),
        ("/none", ""),
    ],
)
def test_what_a_server_does_wrong(
    server: str, path: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MOST_BYTES", 4000)
    monkeypatch.setattr(web, "PATIENCE", 0.3)
    monkeypatch.setattr(web, "LONGEST", 0.4)
    with pytest.raises(DataError) as caught:
        download(Url(server + path))
    assert str(caught.value).startswith(f"{server}{path}: ")
    assert reason in str(caught.value).removeprefix(server + path)


@pytest.mark.parametrize("url", ["http://", "http://a b/", "http://[1/", "http://x.invalid/a.png"])
def test_addresses_that_lead_nowhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DataError) as caught:
        download(Url(url))
    assert str(caught.value).startswith(f"{url}: ")


def test_schemes() -> None:
    assert [scheme_of(x) for x in ("HTTPS://a", "s3://b", "C:/a.png", "a//b", "://")] == [
        *("https", "s3"),
        *(None, None, None),
    ]
