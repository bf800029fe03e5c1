"""A server: its socket, its model, and its end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from PIL import Image
from uvicorn import Config, Server

from addkit.distributed.signals import exit_code_of
from addkit.errors import AddkitWarning, Stopped, UsageError
from addkit.model import load
from addkit.serving.app import Service, create_app
from addkit.serving.card import model_card
from addkit.serving.connection import LINGER, TimedProtocol
from addkit.serving.limits import Limits
from addkit.serving.processes import handled, supervise

BACKLOG = 2048
"""Connections that the kernel keeps until a process takes them."""
GRACE = 30
"""Seconds for which a stopping server waits for its answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a model is served."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free one."""
    token: str | None = field(default=None, repr=False)
    workers: int = 1
    """Processes, each with a model of its own."""
    device: str = "cpu"
    weights: str = "ema"
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Raise `UsageError` for an address that others reach, without a token."""
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise UsageError("--token: printable ASCII characters only; it goes into a header")
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"--host {self.host}: others can reach this address, so that a --token is needed "
                "(or the variable ADDKIT_SERVE_TOKEN)"
            )


def is_loopback(host: str) -> bool:
    """True for a name or address that only this machine reaches."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def serve(path: Path, options: ServerOptions, started: Callable[[str], None]) -> None:
    """Serve a model until a signal comes, then answer what has been accepted.

    Args:
        path: of a run, a checkpoint or the folder of a pack.
        options: how.
        started: called with the server's address once requests are answered.

    Raises:
        UsageError: an address that cannot be used.
        RunError: a model that cannot be loaded, or a process that ends at its start.
        Stopped: always, in the end.
    """
    options.check()
    sock = listening(options)
    host, port = sock.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with sock:
        if options.workers == 1:
            stopped = _run(path, options, sock, lambda: started(address))
        else:
            # Faults and warnings of the model come once, from here.
            load(path, weights=options.weights, device=options.device)
            threads = max(1, torch.get_num_threads() // options.workers)
            work = partial(_work, path, options, threads)
            stopped = supervise(work, sock, options.workers, lambda: started(address))
    raise Stopped(f"stopped by {signal.Signals(stopped).name}", exit_code_of(stopped))


def listening(options: ServerOptions) -> socket.socket:
    """A socket that accepts connections. Raises `UsageError` if its address cannot be used."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"{options.host}:{options.port}: {reason}; choose another --host or --port"
        ) from None


def _run(
    path: Path, options: ServerOptions, sock: socket.socket, started: Callable[[], None]
) -> int:
    """Serve in this process; the signal that ended it."""
    _allow_connections(options.limits.connections)
    # Pictures of strangers: what is too large is refused, and needs no line.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    predictor = load(path, weights=options.weights, device=options.device)
    card = model_card(predictor, options.limits, path)
    service = Service(predictor, card, options.host, options.token, options.limits)
    server = GracefulServer.of(service, started)
    server.run([sock])
    return server.stopped_by


def _allow_connections(count: int) -> None:
    """Raise this process's limit of open files, often 1,024, as far as it may."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 512  # Files and libraries have some, too.
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class GracefulServer(Server):
    """A server that answers every request it has been sent before it ends.

    Args:
        config: of uvicorn.
        service: is marked as stopping once a signal comes.
        announce: called once requests are answered.
    """

    def __init__(self, config: Config, service: Service, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self.service, self._announce = service, announce
        self.stopped_by = 0

    @classmethod
    def of(cls, service: Service, announce: Callable[[], None]) -> GracefulServer:
        """A server of a model, without uvicorn's own logs."""
        # It would print a line for each broken request.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        limits = service.limits
        config = Config(
            create_app(service),
            http=type("Protocol", (TimedProtocol,), {"limits": limits}),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # A client must not choose the address that it seems to come from.
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=ceil(limits.head_seconds),
            timeout_graceful_shutdown=GRACE,
            backlog=BACKLOG,
        )
        return cls(config, service, announce)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # From now on each response ends its connection, so that clients open no more requests on
        # one that is about to be closed.
        self.service.stopping = True
        await asyncio.sleep(LINGER)
        loop = asyncio.get_running_loop()
        # The kernel has accepted these connections; closing the socket would reset them.
        for sock in sockets or ():
            with suppress(BlockingIOError):
                while True:
                    connection, _ = sock.accept()
                    connection.setblocking(False)
                    await loop.connect_accepted_socket(self._protocol, connection)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = kind(self.config, self.server_state, self.lifespan.state)
        return protocol

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at every signal that stops a command; a second Ctrl-C waits for nothing."""
        with handled(self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.stopped_by != 0 and sig == signal.SIGINT
        self.should_exit, self.stopped_by = True, self.stopped_by or sig


def _work(
    path: Path, options: ServerOptions, threads: int, sock: socket.socket, ready: Semaphore
) -> None:
    """One process of several."""
    warnings.simplefilter("ignore", AddkitWarning)
    torch.set_num_threads(threads)
    sock.setblocking(False)

    def announce() -> None:
        ready.release()

    _run(path, options, sock, announce)
