"""A headless browser behind a pipe: what it logs, and what the page measures of itself."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 60
NAME = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Page:
    """One page of a browser that speaks the DevTools protocol over file descriptors 3 and 4."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self.left, self.number = b"", 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        self.until = time.monotonic() + SECONDS

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def wait(self, method: str) -> None:
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            ready, _, _ = select.select([self.reader], [], [], self.until - time.monotonic())
            assert ready, "the browser does not answer"
            part = os.read(self.reader, 1 << 20)
            assert part, "the browser has gone"
            self.left += part
        one, _, self.left = self.left.partition(b"\0")
        return json.loads(one)

    def measure(self, script: str) -> Any:
        reply = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"]["value"]

    def picture(self, path: Path) -> None:
        reply = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(reply["data"]))

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of the console, of the page's policy and of the network."""
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [json.dumps(e["params"]) for e in self.events if e.get("method") in kinds]

    @property
    def requests(self) -> list[str]:
        asked = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in asked]


@contextmanager
def opened(file: Path, profile: Path, width: int, scheme: str = "light") -> Iterator[Page]:
    """The page of a file at a viewport of this width."""
    to_read, from_us = os.pipe()
    from_it, to_write = os.pipe()

    def ends() -> None:
        os.dup2(to_read, 3)
        os.dup2(to_write, 4)

    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    browser = subprocess.Popen(
        [str(NAME), *words, "--remote-debugging-pipe", "about:blank"],
        preexec_fn=ends,
        pass_fds=(3, 4, to_read, to_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    try:
        page = Page(from_it, from_us)
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page.session = session
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.call("Emulation.setEmulatedMedia", features=[feature])
        page.call("Page.navigate", url=file.absolute().as_uri())
        page.wait("Page.loadEventFired")
        yield page
    finally:
        browser.terminate()
        browser.wait(SECONDS)
        os.close(from_it)
        os.close(from_us)
