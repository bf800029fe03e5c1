"""What a server accepts: bytes, pixels, work, requests that wait, and seconds."""

from __future__ import annotations

from dataclasses import dataclass

MEGA = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one request, and on all of them together."""

    body: int = 20 * MEGA
    """Bytes of a request's body; more is answered by 413."""
    bodies: int = 16
    """Bodies of that size whose bytes may be in memory at a time; beyond them 429."""
    pixels: int = 50 * MEGA
    """Width times height of a picture; more is answered by 422, before it is decoded."""
    steps: int = 200
    """Denoising steps; more is answered by 422, as are more chains and answers."""
    chains: int = 64
    top: int = 100
    queue: int = 256
    """Requests that wait for an answer; further ones are answered by 429."""
    head: int = 2**16
    """Bytes of a request's first line and headers."""
    head_seconds: float = 10.0
    """Time for the headers of a request, and of an idle connection between two requests."""
    body_seconds: float = 60.0
    """Time for a body; a slower one is answered by 408."""
    connections: int = 4096
    """Open connections of one process; on further ones every request is answered by 503."""
