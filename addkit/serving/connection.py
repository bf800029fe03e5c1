"""One connection: uvicorn's protocol, with bounds on headers and on time."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from addkit.serving.limits import Limits

LINGER = 0.3
"""Seconds for which an idle connection is still read when the server stops: a request may be under
way.
"""


class TimedProtocol(HttpToolsProtocol):
    """Closes connections that send or read too slowly, which uvicorn leaves open.

    Every request must be there in time: its headers, then its body. A connection that waits for its
    answer has no deadline.
    """

    limits: ClassVar[Limits]

    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head:
                self.transport.abort()
        # uvicorn has ended its own timeout of idle connections, whatever the bytes were.
        elif self._deadline is None and self._is_idle:
            self._expect(self.limits.head_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._expect(self.limits.head_seconds)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        # Later than the answer 408 to a slow body.
        self._expect(self.limits.body_seconds + 2 * LINGER)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._expect(None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            # A client that reads nothing would keep it open.
            self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """End the connection after its answer, and an idle one soon."""
        if self._is_idle:
            self.loop.call_later(LINGER, self._close_if_idle)
        else:
            super().shutdown()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        super().shutdown()

    def _expect(self, seconds: float | None) -> None:
        """Close the connection after so many seconds; None: no more."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        cycle: Any = self.cycle
        # The next request has begun while the answer to the one before is being computed.
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            self._expect(self.limits.head_seconds)
        else:
            self.transport.abort()
