"""`sample-folder`: `addkit sample FOLDER` of small pictures against a loop of `predict`.

Both load the model and answer every picture in batches of the recipe's size, in this process, one
after the other. Memory and the time to the first line are those of processes of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, process_time

import numpy as np
from measure import Options, Row, Target, alternate, note, ratios
from PIL import Image

import addkit
from addkit.cli.main import main

WATCHED = """
import sys, time
import addkit.model
from addkit.cli.main import main

load = addkit.model.load
def timed(*words, **more):
    model = load(*words, **more)
    print(time.monotonic(), file=sys.stderr, flush=True)
    return model
addkit.model.load = timed
main()
"""
"""The command, which prints on stderr when the model is loaded."""


def rows(options: Options) -> Iterator[Row]:
    """Seconds of `sample` over those of the loop, peak memory, and seconds to the first line."""
    count, million = (200, 2_000) if options.quick else (20_000, 1_000_000)
    with TemporaryDirectory() as name:
        run, folder = Path(name, "run"), Path(name, "pictures")
        _command("train", "digits", "--run-dir", str(run), "--set", "control.heads=[]")
        draw_pictures(folder, count)
        for form in ([], ["--json"], ["--jsonl"]):
            what = " ".join(["sample FOLDER", *form])
            yield from _compared(run, folder, form, f"{what} / loop of predict", options)
        few = Path(name, "few")
        draw_pictures(few, count // 10)
        peaks = [_watched(run, each)[2] for each in (few, folder)]
        yield Row(
            name="sample-folder",
            compares=f"peak memory of {count} pictures / of {count // 10}",
            values=[peaks[1] / peaks[0]],
            target=Target(1.1),
            note=f"{peaks[0]:.0f} and {peaks[1]:.0f} MB",
        )
        note(f"  {million} names")
        draw_pictures(Path(name, "million"), million)
        for size, each, most in ((count, folder, 1.0), (million, Path(name, "million"), 5.0)):
            begun, loaded, _ = _watched(run, each, to_end=False)
            yield Row(
                name="sample-folder",
                compares=f"seconds from the model's load to the first line, {size} pictures",
                values=[loaded],
                target=Target(most),
                note=f"{begun:.1f} s from the command's start",
            )


def _compared(
    run: Path, folder: Path, form: list[str], what: str, options: Options
) -> Iterator[Row]:
    busy: list[list[float]] = [[], []]

    def loop() -> None:
        model = addkit.load(run)
        paths, size = sorted(folder.iterdir()), model.recipe.sampling.batch_size
        for start in range(0, len(paths), size):
            model.predict(paths[start : start + size])

    def command() -> None:
        _command("sample", "--run", str(run), str(folder), *form)

    calls = [_metered(call, times) for call, times in zip((command, loop), busy, strict=True)]
    pairs = alternate(*calls, seconds=0.0 if options.quick else 60.0, fewest=2)
    seconds = [median(times) for times in zip(*pairs, strict=True)]
    yield Row(
        name="sample-folder",
        compares=what,
        values=ratios(pairs),
        target=Target(1.3),
        note=f"{seconds[0]:.1f} and {seconds[1]:.1f} s",
    )
    used = list(zip(*(times[1:] for times in busy), strict=True))
    yield Row(name="sample-folder", compares=f"{what}, processor time", values=ratios(used))


def _metered(call: Callable[[], None], times: list[float]) -> Callable[[], None]:
    def metered() -> None:
        start = process_time()
        call()
        times.append(process_time() - start)

    return metered


def _command(*words: str) -> None:
    sys.argv = ["addkit", "--quiet", *words]
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise


def _watched(run: Path, folder: Path, to_end: bool = True) -> tuple[float, float, float]:
    """Seconds from start and from the model's load to the first line; peak memory in MB."""
    words = [sys.executable, "-c", WATCHED, "sample", "--run", str(run), str(folder), "--jsonl"]
    start = monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        first = monotonic()
        loaded = float(process.stderr.readline())
        if to_end:
            while process.stdout.read(1 << 16):
                pass
        else:
            process.kill()
        # Of this process alone; `RUSAGE_CHILDREN` is the largest of all.
        usage = os.wait4(process.pid, 0)[2]
        process.returncode = 0
    return first - start, first - loaded, usage.ru_maxrss / 1000


def draw_pictures(folder: Path, count: int) -> None:
    """Random grey pictures of 8 x 8; after the first 1,000 hard links to them."""
    folder.mkdir()
    random = np.random.default_rng(0)
    files = [folder / f"{number:07}.png" for number in range(count)]
    for number, file in enumerate(files):
        if number < 1_000:
            Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(file)
        else:
            file.hardlink_to(files[number % 1_000])
