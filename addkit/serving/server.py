"""Sockets, processes and signals of a server."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import ceil
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import torch
from PIL import Image
from prometheus_client.multiprocess import mark_process_dead
from uvicorn import Config, Server

from addkit.distributed.signals import exit_code_of, handled_numbers
from addkit.errors import AddkitWarning, RunError, Stopped, UsageError
from addkit.model import load
from addkit.serving.app import Service, create_app
from addkit.serving.card import model_card
from addkit.serving.connection import LINGER, TimedProtocol
from addkit.serving.limits import Limits
from addkit.serving.metrics import FOLDER

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
            stopped = _supervise(path, options, sock, lambda: started(address))
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
        self._service, self._announce = service, announce
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
        self._service.stopping = True
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
        with _handled(self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.stopped_by != 0 and sig == signal.SIGINT
        self.should_exit, self.stopped_by = True, self.stopped_by or sig


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handler) for number in handled_numbers()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _supervise(
    path: Path, options: ServerOptions, sock: socket.socket, started: Callable[[], None]
) -> int:
    """Serve in several processes that share a socket, and replace those that die; the signal that
    ended it.
    """
    # Faults and warnings of the model come once, from here.
    load(path, weights=options.weights, device=options.device)
    context = multiprocessing.get_context("spawn")
    ready, stopped = context.Semaphore(0), 0
    threads = max(1, torch.get_num_threads() // options.workers)

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = stopped or number

    def start() -> SpawnProcess:
        process = context.Process(target=_work, args=(path, options, sock, ready, threads))
        process.start()
        return process

    # Before the processes import prometheus_client, which reads it then.
    with TemporaryDirectory(prefix="addkit-") as folder, _handled(stop):
        os.environ[FOLDER] = folder
        workers: list[SpawnProcess] = []
        try:
            workers += [start() for _ in range(options.workers)]
            missing = options.workers
            while not stopped:
                while missing and ready.acquire(block=False):
                    missing -= 1
                    if not missing:
                        started()
                wait([worker.sentinel for worker in workers], timeout=0.1)
                for index, worker in enumerate(workers):
                    if worker.exitcode is None or stopped:
                        continue
                    if missing:
                        raise RunError(
                            f"a process of the server ended at its start (exit code "
                            f"{worker.exitcode}); its reason is above"
                        )
                    message = f"a process of the server died (exit code {worker.exitcode}); another"
                    warnings.warn(f"{message} is started", AddkitWarning, stacklevel=2)
                    assert worker.pid is not None
                    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
                    workers[index] = start()
        finally:
            # The last process to close the socket ends it.
            sock.close()
            for worker in workers:
                with suppress(ProcessLookupError):
                    worker.terminate()
            for worker in workers:
                worker.join()
            del os.environ[FOLDER]
    return stopped


def _work(
    path: Path, options: ServerOptions, sock: socket.socket, ready: Semaphore, threads: int
) -> None:
    """One process of several."""
    warnings.simplefilter("ignore", AddkitWarning)
    torch.set_num_threads(threads)
    sock.setblocking(False)

    def announce() -> None:
        ready.release()

    _run(path, options, sock, announce)
