"""`predict-pictures`: `predict` of a stream of pictures against a list of paths, and its memory.

Every kind of picture is made of the same files. Memory is measured in one process: what a stream
of many pictures adds to that of a stream of few.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import Options, Row, Target, alternate, note, ratios
from PIL import Image
from sample_folder import draw_pictures

import addkit


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


def rows(options: Options) -> Iterator[Row]:
    """Seconds of each kind of picture over those of paths, and growth of memory."""
    count = 300 if options.quick else 10_000
    with TemporaryDirectory() as name:
        folder = Path(name, "pictures")
        draw_pictures(folder, count)
        small = {"control.heads": [], "training.epochs": 1}
        model = addkit.train("digits", small, run_dir=Path(name, "run")).load()
        paths = sorted(folder.iterdir())
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        kinds: dict[str, Callable[[Path], Any]] = {
            "paths": lambda path: path,
            "bytes": Path.read_bytes,
            "PIL images": lambda path: Image.open(io.BytesIO(path.read_bytes())),
            "arrays": lambda path: np.asarray(Image.open(path)),
            "URLs": lambda path: f"{base}/{path.name}",
        }
        for kind, make in kinds.items():
            note(f"  {kind}")
            some = paths[: count // 10] if kind == "URLs" else paths

            def streamed(make: Callable[[Path], Any] = make, some: list[Path] = some) -> None:
                for _ in model.predict(map(make, some)):
                    pass

            assert list(model.predict(map(make, some[:600]))) == model.predict(some[:600])
            pairs = alternate(streamed, partial(model.predict, some), seconds=0.0, fewest=3)
            seconds = min(first for first, _ in pairs)
            yield Row(
                name="predict-pictures",
                compares=f"stream of {kind} / list of paths",
                values=ratios(pairs),
                target=Target(1.3) if kind == "paths" else None,
                note=f"{len(some) / seconds:,.0f} pictures/s",
            )
        server.shutdown()
        consume(model.predict(_frames(count // 10)))
        before = resident()
        consume(model.predict(_frames(count)))
        yield Row(
            name="predict-pictures",
            compares=f"memory after a stream of {count} arrays of 640 x 480 / of {count // 10}",
            values=[resident() / before],
            target=Target(1.02),
            note=f"{before:.0f} and {resident():.0f} MB",
        )


def consume(answers: Iterable[Any]) -> None:
    """Read an iterator to its end."""
    for _ in answers:
        pass


def _frames(count: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (480, 640, 3), np.uint8)
    for number in range(count):
        yield np.roll(frame, number, 1)


def resident() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
