"""`loading`: 224-pixel training crops from 500x375 JPEG photos, addkit's loader against timm's.

Crop of 8 to 100 % of the area (bicubic), flip, normalise; one loader process each, which stays from
epoch to epoch. Everything is pinned to one core, main process included, so images per second are
those of a core. timm reads the same folder in both its ways: with its prefetcher (levels are sent,
the main process normalises) and without. The photos are made here, of clouds and film grain.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import torch
from measure import Options, Row, Target, alternate, note, ratios
from PIL import Image
from timm.data import create_loader
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.dataset import ImageDataset
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.image_sets import FileImages
from addkit.data.images import Pixels
from addkit.data.loader import Loader, epoch_order
from addkit.recipe.tables import Augmentation

WIDTH, HEIGHT, QUALITY = 500, 375, 90
SIZE = 224
CROP, FLIP = (0.08, 1.0), 0.5
PIXELS = Pixels(SIZE, 3, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, 256)

OCTAVES = ((3, 50), (8, 30), (24, 18), (64, 10), (188, 7))
"""Squares along a side, and how far they differ in grey levels."""
GRAIN = 7

Epoch = Callable[[], object]


def rows(options: Options) -> Iterator[Row]:
    """timm's seconds / addkit's, and the seconds of decoding alone."""
    count, batch = (16, 4) if options.quick else (512, 64)
    with TemporaryDirectory() as folder, _one_core():
        paths = _photos(Path(folder), count)
        kilobytes = mean(path.stat().st_size for path in paths) / 1000
        note(f"  {count} photos of {kilobytes:.0f} kB")
        with Loader(_images(paths), workers=1) as loader:
            epochs = _Epochs(loader, count, batch)
            for name, other, target in _opponents(Path(folder), paths, batch):
                note(f"  {name}")
                yield from _compared(name, other, epochs, target, options)


class _Epochs:
    """addkit's loader, called once for each epoch."""

    def __init__(self, loader: Loader, count: int, batch: int) -> None:
        self._loader, self.count, self._batch = loader, count, batch
        self._epoch = 0

    def __call__(self) -> int:
        self._epoch += 1
        order = epoch_order(0, self._epoch, self.count).split(self._batch)
        slices = [indices.tolist() for indices in order]
        return sum(len(batch.images) for batch in self._loader.batches(slices, self._epoch))


def _images(paths: Sequence[Path]) -> FileImages:
    augmentation = Augmentation.model_validate({"crop": CROP, "flip": FLIP})
    labels = torch.zeros(len(paths), 1, dtype=torch.int64)
    names = [str(path) for path in paths]
    return FileImages(names, labels, PIXELS, Augmenter(augmentation, PIXELS))


def _opponents(
    folder: Path, paths: Sequence[Path], batch: int
) -> Iterator[tuple[str, Epoch, Target | None]]:
    yield "timm, prefetcher / addkit", _timm(folder, batch, True, "bicubic"), Target(1.5, True)
    yield "timm, no prefetcher / addkit", _timm(folder, batch, False, "bicubic"), Target(1.5, True)
    yield "timm, prefetcher, bilinear / addkit", _timm(folder, batch, True, "bilinear"), None
    yield "decoding alone / addkit", lambda: _decoded(paths), None


def _timm(folder: Path, batch: int, prefetcher: bool, interpolation: str) -> Epoch:
    loader: Any = create_loader(
        ImageDataset(str(folder)),
        (3, SIZE, SIZE),
        batch,
        is_training=True,
        scale=CROP,
        hflip=FLIP,
        color_jitter=None,
        interpolation=interpolation,
        num_workers=1,
        use_prefetcher=prefetcher,
        device=torch.device("cpu"),
    )
    return lambda: sum(len(images) for images, _ in loader)


def _decoded(paths: Sequence[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            image.load()


def _compared(
    name: str, other: Epoch, own: _Epochs, target: Target | None, options: Options
) -> Iterator[Row]:
    busy: list[list[float]] = [[], []]
    seconds, fewest = (0.0, 2) if options.quick else (30.0, 5)
    calls = [_metered(call, times) for call, times in zip((other, own), busy, strict=True)]
    pairs = alternate(*calls, seconds=seconds, fewest=fewest)
    speeds = [own.count / median(times) for times in zip(*pairs, strict=True)]
    told = f"{speeds[0]:.0f} / {speeds[1]:.0f} images per second"
    yield Row(name="loading", compares=name, values=ratios(pairs), target=target, note=told)
    # After the first, which does not count.
    used = list(zip(*(times[1:] for times in busy), strict=True))
    yield Row(name="loading", compares=f"{name}, processor time", values=ratios(used))


def _metered(call: Epoch, times: list[float]) -> Epoch:
    """Notes the processor seconds of each call, those of loader processes included."""

    def metered() -> None:
        start = _processor_seconds()
        call()
        times.append(_processor_seconds() - start)

    return metered


def _processor_seconds() -> float:
    ticks = 0
    for child in active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # in user and in system mode
    return process_time() + ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def _one_core() -> Iterator[None]:
    # Loader processes inherit it.
    cores = os.sched_getaffinity(0)
    threads = torch.get_num_threads()
    os.sched_setaffinity(0, {max(cores)})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, cores)


def _photos(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number % 4}" / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        _photo(number).save(path, quality=QUALITY)
    return paths


def _photo(number: int) -> Image.Image:
    generator = torch.Generator().manual_seed(number)
    photo = sum(
        (_cloud(squares, levels, generator) for squares, levels in OCTAVES), torch.tensor(120.0)
    )
    photo = photo + GRAIN * torch.randn(1, HEIGHT, WIDTH, generator=generator)
    return Image.fromarray(photo.clamp(0, 255).byte().permute(1, 2, 0).numpy())


def _cloud(squares: int, levels: float, generator: torch.Generator) -> Tensor:
    """Random values on a coarse grid, equal in the three colours, interpolated; (3, H, W)."""
    grey = torch.randn(1, 1, squares, squares, generator=generator)
    colour = torch.randn(1, 3, squares, squares, generator=generator)
    size = (HEIGHT, WIDTH)
    values = levels * (grey + 0.3 * colour)
    return torch.nn.functional.interpolate(values, size, mode="bicubic")[0]
