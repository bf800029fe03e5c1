"""`serve`: pictures a second of `addkit serve` against `predict` in batches, and hostile clients.

The clients run in this process and the server in others, so that both share the machine's cores.
"""

from __future__ import annotations

import asyncio
import io
import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from measure import Options, Row, Target, alternate, note
from PIL import Image
from serve_load import EDGE, Closed, Server, form, load, once, post, response, serving

import addkit

TOKEN = "right"
CLIENTS = 32
MODELS: dict[str, dict[str, object]] = {
    "digits, 8 x 8": {},
    "digits, 64 x 64": {"data.image_size": 64, "encoder.widths": [64, 128, 256]},
}
"""Recipe `digits` as it is, and with an encoder of the size of a small backbone."""


def rows(options: Options) -> Iterator[Row]:
    """Speed, memory, hostile requests and the end under load."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        small = {"control.heads": [], "training.epochs": 1}
        for model, settings in MODELS.items():
            note(f"  {model}")
            run = folder / model.replace(", ", "-").replace(" ", "")
            addkit.train("digits", {**small, **settings}, run_dir=run)
            size = 64 if settings else 8
            yield from _speed(run, model, _pictures(size), options)
        run, pictures = folder / "digits-8x8", _pictures(8)
        note("  memory")
        yield _memory(run, pictures, options)
        note("  hostile requests")
        yield from _hostile(run, pictures, options)
        note("  SIGTERM under load")
        yield from _stopped(run, pictures, options)


def _pictures(size: int) -> list[bytes]:
    draw, files = np.random.default_rng(0), []
    for _ in range(500):
        file = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (size, size), np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    return files


def _speed(run: Path, name: str, pictures: Sequence[bytes], options: Options) -> Iterator[Row]:
    count = 200 if options.quick else 2000
    images = [*islice(cycle(pictures), count)]
    requests = [post(form(image)) for image in images]
    model = addkit.load(run)
    loads = []
    with serving(run) as server:
        before = server.processor_seconds()

        def served() -> None:
            loads.append(asyncio.run(load(server.port, requests, CLIENTS)))

        pairs = alternate(lambda: model.predict(images), served, seconds=0.0, fewest=3)
        busy = (server.processor_seconds() - before) / (len(loads) * count)
    loads = loads[1:]  # the first one does not count
    speed = median(each.per_second for each in loads)
    yield Row(
        name="serve",
        compares=f"pictures/s of {CLIENTS} clients / of predict, {name}",
        values=[predict / serve for predict, serve in pairs],
        target=Target(0.8, at_least=True),
        note=f"{speed:,.0f} pictures/s; {1e3 * busy:.2f} ms of processor time each",
    )
    yield Row(
        name="serve",
        compares=f"p95 / p50 of the time to an answer, {name}",
        values=[each.quantile(0.95) / each.quantile(0.5) for each in loads],
        target=Target(3),
        note=f"p50 {1e3 * median(each.quantile(0.5) for each in loads):.0f} ms",
    )
    wrong = sum(count - each.statuses[200] for each in loads)
    yield Row(name="serve", compares=f"errors, {name}", values=[wrong], target=Target(0))


def _memory(run: Path, pictures: Sequence[bytes], options: Options) -> Row:
    requests = [post(form(image)) for image in pictures]
    first, count = (200, 400) if options.quick else (4000, 20_000)
    with serving(run) as server:
        asyncio.run(load(server.port, islice(cycle(requests), first)))
        before = server.resident()
        asyncio.run(load(server.port, islice(cycle(requests), count)))
        after = server.resident()
    return Row(
        name="serve",
        compares=f"memory after {count:,} more requests / before",
        values=[after / before],
        target=Target(1.02),
        note=f"{before:.0f} and {after:.0f} MB",
    )


def _stopped(run: Path, pictures: Sequence[bytes], options: Options) -> Iterator[Row]:
    requests = [post(form(image, steps=20)) for image in pictures]
    for workers in (1, 2):
        lost, answered, codes = [], 0, set()
        for kill in range(2 if options.quick else 5):
            with serving(run, "--workers", workers) as server:

                async def killed(server: Server = server, kill: int = kill) -> tuple[int, int, int]:
                    clients = asyncio.create_task(load(server.port, cycle(requests), CLIENTS))
                    await asyncio.sleep(0.7 + 0.13 * kill)
                    code = await asyncio.to_thread(server.stop)
                    result = await clients
                    assert result.statuses.keys() <= {200}
                    return result.lost, len(result.times), code

                each, count, code = asyncio.run(killed())
                lost.append(each)
                answered += count
                codes.add(code)
        yield Row(
            name="serve",
            compares=f"requests without an answer when SIGTERM comes, {workers} processes",
            values=lost,
            target=Target(0),
            note=f"{answered:,} answered in {len(lost)} servers, exit codes {codes}",
        )


def _hostile(run: Path, pictures: Sequence[bytes], options: Options) -> Iterator[Row]:
    """Each attack while others ask; what is counted are wrong statuses, and others' errors."""
    good = [post(form(image), TOKEN) for image in pictures]
    attacks = {
        "500 mutated bodies": _mutants,
        "bodies of 100 MB": _huge,
        "picture bombs": _bombs,
        "1,000 open connections": _open,
        "1,000 wrong tokens": _wrong_tokens,
        "100 slow senders": _slow,
    }
    with serving(run, "--token", TOKEN) as server:
        before = server.resident()
        for name, attack in attacks.items():
            note(f"    {name}")

            async def both(attack=attack) -> tuple[int, int, float]:  # noqa: ANN001
                stop = asyncio.Event()

                def until() -> Iterator[bytes]:
                    for request in cycle(good):
                        if stop.is_set():
                            return
                        yield request

                others = asyncio.create_task(load(server.port, until(), 2))
                wrong = await attack(server.port, pictures[0])
                stop.set()
                result = await others
                failed = len(result.times) - result.statuses[200] + result.lost + result.refused
                return wrong, failed, result.quantile(0.95)

            wrong, failed, p95 = asyncio.run(both())
            yield Row(
                name="serve",
                compares=f"{name}: wrong statuses, and errors of others",
                values=[wrong + failed],
                target=Target(0),
                note=f"p95 of others {1e3 * p95:.0f} ms, memory {server.resident():.0f} MB "
                f"({before:.0f} at the start)",
            )


async def _statuses(port: int, requests: Sequence[bytes], allowed: set[int], at_once: int) -> int:
    """How many of the requests, each on its own connection, get none of the allowed statuses."""
    room = asyncio.Semaphore(at_once)

    async def one(request: bytes) -> bool:
        async with room:
            try:
                return await once(port, request) in allowed
            except (Closed, OSError):
                return False

    return (await asyncio.gather(*map(one, requests))).count(False)


async def _mutants(port: int, picture: bytes) -> int:
    draw = random.Random(0)
    body, mutants = form(picture, steps=2, given="{}"), []
    for number in range(500):
        changed = bytearray(body)
        for _ in range(draw.choice((1, 4, 32))):
            place = draw.randrange(len(changed))
            match number % 4:
                case 0:
                    changed[place] = draw.randrange(256)
                case 1:
                    del changed[place : place + draw.randrange(1, 20)]
                case 2:
                    changed[place:place] = draw.randbytes(draw.randrange(1, 20))
                case _:
                    del changed[max(place, 1) :]
        mutants.append(post(bytes(changed), TOKEN))
    # Some are still a request: the bytes of a picture or of a name have changed.
    return await _statuses(port, mutants, {200, 400, 422}, 16)


async def _huge(port: int, picture: bytes) -> int:
    """100 MB with and without their length; the response comes before they have all been sent."""
    wrong = 0
    chunked = post(b"", TOKEN).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    for head in (post(b"", TOKEN, length=10**8), chunked):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # A form whose file does not end.
        start, piece = form(b"")[: -len(EDGE) - 8], bytes(10**6)
        if head is chunked:
            start, piece = (b"%x\r\n%s\r\n" % (len(each), each) for each in (start, piece))
        writer.write(head + start)

        async def send(writer: asyncio.StreamWriter = writer, piece: bytes = piece) -> None:
            for _ in range(100):
                writer.write(piece)
                await writer.drain()

        sending = asyncio.create_task(send())
        try:
            wrong += (await response(reader))[0] != 413
        except Closed:
            wrong += 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
    return wrong


def _png(width: int, height: int) -> bytes:
    """A black picture of one bit a pixel, in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    packer = zlib.compressobj(9)
    line = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


async def _bombs(port: int, picture: bytes) -> int:
    lies = bytearray(picture)
    lies[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    bombs = [_png(30_000, 30_000), _png(1, 2**26), _png(8000, 8000), bytes(lies)]
    requests = [post(form(bomb), TOKEN) for bomb in bombs] * 4
    wrong = await _statuses(port, requests, {422}, 8)
    # The largest that is allowed, all at once.
    return wrong + await _statuses(port, [post(form(_png(7000, 7000)), TOKEN)] * 8, {200}, 8)


async def _open(port: int, picture: bytes) -> int:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1000)]
    wrong = await _statuses(port, [post(form(picture), TOKEN)] * 50, {200}, 10)
    for _, writer in idle:
        writer.close()
    return wrong


async def _wrong_tokens(port: int, picture: bytes) -> int:
    tokens = ["", "wrong", "righ", "rightt", "RIGHT", "\xff"]
    requests = [post(form(picture), token).replace(b"\xc3\xbf", b"\xff") for token in tokens]
    return await _statuses(port, [*islice(cycle(requests), 1000)], {401}, 16)


async def _slow(port: int, picture: bytes) -> int:
    """Half of them send their headers, half their body, a byte a second."""
    whole = post(form(picture), TOKEN)
    start = whole.index(b"\r\n\r\n") + 4

    async def one(body: bool) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = perf_counter()
        try:
            if body:
                writer.write(whole[:start])
            for index in range(start if body else 0, len(whole)):
                writer.write(whole[index : index + 1])
                await writer.drain()
                try:
                    status, _, _ = await asyncio.wait_for(response(reader), 1)
                except TimeoutError:
                    continue
                return body and status == 408 and perf_counter() - began < 65
            return False
        except (Closed, ConnectionError):
            return not body and perf_counter() - began < 15
        finally:
            writer.close()

    return (await asyncio.gather(*(one(number % 2 == 1) for number in range(100)))).count(False)
