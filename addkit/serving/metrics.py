"""Counters and times for Prometheus, of one process or of several."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client adds up the processes whose files are in this folder."""
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What `/metrics` shows."""

    def __init__(self) -> None:
        # Of its own: several apps in one process must not share counters.
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "addkit_requests", "Requests of /predict by status.", ["status"], registry=registry
        )
        self._seconds = Histogram(
            "addkit_request_seconds",
            "Time from the headers of a request to its answer.",
            buckets=SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "addkit_batch_pictures",
            "Pictures that were answered together.",
            buckets=SIZES,
            registry=registry,
        )
        self._predict = Histogram(
            "addkit_predict_seconds",
            "Time of the model for a batch.",
            buckets=SECONDS,
            registry=registry,
        )
        self._waiting = Gauge(
            "addkit_waiting_requests",
            "Requests that wait for a batch.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def answered(self, status: int, seconds: float) -> None:
        """Count a request of /predict."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def predicted(self, pictures: int, seconds: float) -> None:
        """Count a batch."""
        self._batch.observe(pictures)
        self._predict.observe(seconds)

    def text(self, waiting: int) -> bytes:
        """In Prometheus' text format; of all processes if there are several."""
        self._waiting.set(waiting)
        registry = self._registry
        if FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
