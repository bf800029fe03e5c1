"""Clients of `addkit serve` for its benchmarks: a server of its own, and requests over sockets.

The clients write prepared bytes and read a response's status, so that they take a twentieth of the
server's time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

EDGE = b"edge-of-a-part"


@dataclass(slots=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def resident(self) -> float:
        """Resident memory of all its processes in MB."""
        pids = [self.process.pid, *_children(self.process.pid)]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * 4096 / 1e6

    def processor_seconds(self) -> float:
        """Processor time of all its processes."""
        total = 0
        for pid in [self.process.pid, *_children(self.process.pid)]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@contextmanager
def serving(run: Path, *options: object) -> Iterator[Server]:
    """`addkit serve` on a free port, once it answers."""
    command = [sys.executable, "-m", "addkit", "serve", run, "--port", "0", *options]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline()
            yield Server(process, int(address.rpartition(":")[2]))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


def form(image: bytes, **fields: object) -> bytes:
    """A body of multipart/form-data."""
    parts = [
        b"--%s\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n"
        % (EDGE, name.encode(), str(value).encode())
        for name, value in fields.items()
    ]
    parts.append(
        b"--%s\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n%s\r\n--%s--\r\n"
        % (EDGE, image, EDGE)
    )
    return b"".join(parts)


def post(body: bytes, token: str = "", length: int | None = None) -> bytes:
    """A request of /predict with a form."""
    lines = [
        "POST /predict HTTP/1.1",
        "Host: localhost",
        f"Content-Type: multipart/form-data; boundary={EDGE.decode()}",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Closed(Exception):  # noqa: N818 - not always a fault
    """The server closed the connection without a response."""


async def response(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection ends with it."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise Closed from None
    return int(head[9:12]), body, b"connection: close" in head


async def once(port: int, request: bytes) -> int:
    """The status of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return (await response(reader))[0]
    finally:
        writer.close()


@dataclass(slots=True)
class Load:
    """What clients have seen."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Requests that were sent and got no response."""
    refused: int = 0
    """Connections that the server did not take, so that nothing was sent."""

    @property
    def per_second(self) -> float:
        """Responses a second."""
        return len(self.times) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the responses came."""
        return sorted(self.times)[int(share * (len(self.times) - 1))]


async def load(port: int, requests: Iterable[bytes], clients: int = 32) -> Load:
    """Send requests from clients with open connections, each after the response to its last one.

    A client ends where it is not let in.
    """
    result, left = Load(), iter(requests)

    async def client() -> None:
        writer = None
        for request in left:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                result.refused += 1
                return
            began = perf_counter()
            try:
                writer.write(request)
                status, _, ends = await response(reader)
            except Closed:
                result.lost += 1
                writer = None
                continue
            result.times.append(perf_counter() - began)
            result.statuses[status] += 1
            if ends:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    began = perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    result.seconds = perf_counter() - began
    return result
