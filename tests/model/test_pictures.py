"""`predict` of every kind of picture: the answers are those of the files' paths, to the bit."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from types import GeneratorType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import addkit
from addkit import Prediction, Predictor
from addkit.errors import DataError, UsageError

SETTINGS: dict[str, Any] = {"steps": 3, "chains": 4, "read_out": "vote", "sampler": "gibbs"}
"""Answers that depend on the noise."""


@pytest.fixture(scope="module")
def grey(digits_run: Path) -> Predictor:
    return addkit.load(digits_run)


@pytest.fixture(scope="module")
def by_threes(grey: Predictor) -> Predictor:
    """In batches of three."""
    small = grey.recipe.sampling.model_copy(update={"batch_size": 3})
    return Predictor(grey.network, replace(grey.recipe, sampling=small), grey.facts)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of several modes and sizes, one of them turned by its EXIF data."""
    folder, dice = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    made = {
        "rgb.png": ((21, 14, 3), {}),
        "grey.png": ((9, 30), {}),
        "turned.jpg": ((16, 24, 3), {"exif": turned}),
        "turned.tif": ((16, 24, 3), {"exif": turned}),
        "clear.png": ((12, 12, 4), {}),
    }
    for name, (shape, more) in made.items():
        Image.fromarray(dice.integers(0, 256, shape, np.uint8)).save(folder / name, **more)
    palette = opened(folder / "rgb.png").quantize(7)
    palette.save(folder / "palette.gif", transparency=2)
    return [*(folder / name for name in made), folder / "palette.gif"]


def opened(path: Path) -> Image.Image:
    image = Image.open(io.BytesIO(path.read_bytes()))
    image.load()
    return image


def array(path: Path) -> np.ndarray:
    """As PIL gives it after the file's own orientation, with or without transparency."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(opened(path))
    return np.asarray(image.convert("RGBA") if image.has_transparency_data else image)


def tensor(path: Path) -> torch.Tensor:
    levels = torch.from_numpy(np.array(array(path)))
    return levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1)


KINDS: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "open file": lambda path: io.BytesIO(path.read_bytes()),
    "PIL": opened,
    "PIL, not loaded": lambda path: Image.open(io.BytesIO(path.read_bytes())),
    "array": array,
    "array, mirrored twice": lambda path: np.ascontiguousarray(array(path)[:, ::-1])[:, ::-1],
    "tensor": tensor,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_answers_of_the_paths(
    grey: Predictor, pictures: list[Path], kind: str
) -> None:
    make = KINDS[kind]
    assert grey.predict(list(map(make, pictures)), **SETTINGS) == grey.predict(pictures, **SETTINGS)
    for path in pictures:
        one = grey.predict(make(path))
        assert isinstance(one, Prediction)
        assert one == grey.predict(path)


def test_pictures_on_a_server(
    grey: Predictor, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pictures[0].parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        urls = [f"{base}/{path.name}" for path in pictures]
        assert grey.predict(urls, **SETTINGS) == grey.predict(pictures, **SETTINGS)
        assert grey.predict(urls[0]) == grey.predict(pictures[0])
        for gone in (f"{base}/none.png", f"{base}/"):
            with pytest.raises(DataError) as caught:
                grey.predict(gone)
            assert str(caught.value).startswith(f"{gone}: ")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_arrays_and_tensors_of_several(grey: Predictor) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), np.uint8)
    whole = grey.predict(list(levels))
    assert grey.predict(levels) == whole
    assert grey.predict(torch.from_numpy(levels).permute(0, 3, 1, 2)) == whole
    assert grey.predict(np.repeat(levels[..., :1], 3, -1)) == grey.predict(levels[..., :1])


@pytest.mark.parametrize("make", [list, tuple, deque, lambda x: dict.fromkeys(x).keys()])
def test_what_has_a_length_gives_a_list(
    grey: Predictor, pictures: list[Path], make: Callable[[list[Path]], Any]
) -> None:
    answers = grey.predict(make(pictures))
    assert isinstance(answers, list)
    assert answers == grey.predict(pictures)


def test_a_stream_gives_the_answers_of_a_list(by_threes: Predictor, pictures: list[Path]) -> None:
    many = [*pictures, *pictures[:2]]
    answers = by_threes.predict((path for path in many), **SETTINGS)
    assert isinstance(answers, GeneratorType)
    assert list(answers) == by_threes.predict(many, **SETTINGS)
    assert list(by_threes.predict(map(opened, many), **SETTINGS)) == by_threes.predict(
        many, **SETTINGS
    )


def test_a_stream_checks_its_settings_at_once(grey: Predictor) -> None:
    with pytest.raises(UsageError, match="steps"):
        grey.predict(iter([]), steps=0)


def test_a_stream_reads_a_bounded_number_ahead(
    by_threes: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addkit.model.predictor.READ_AHEAD", 5)
    picture, given = np.zeros((4, 4), np.uint8), 0

    def pictures() -> Iterator[np.ndarray]:
        nonlocal given
        while True:
            given += 1
            yield picture

    for number, _ in zip(range(40), by_threes.predict(pictures()), strict=False):
        assert given - number <= 5 + 3


def test_one_array_filled_again_and_again(by_threes: Predictor) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (10, 12, 12, 3), np.uint8)
    buffer = np.zeros_like(frames[0])

    def camera() -> Iterator[np.ndarray]:
        for frame in frames:
            buffer[:] = frame
            yield buffer

    assert list(by_threes.predict(camera())) == by_threes.predict(frames)


def test_answers_before_a_broken_picture_come_first(
    by_threes: Predictor, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    for broken, kind in ((tmp_path / "text.png", DataError), (None, UsageError)):
        answers = by_threes.predict(iter([*pictures[:4], broken, *pictures]))
        assert [next(answers) for _ in range(4)] == by_threes.predict(pictures[:5])[:4]
        with pytest.raises(kind, match=r"text\.png|images\[4\]"):
            next(answers)

    class Unplugged(Exception):  # noqa: N818
        pass

    def camera() -> Iterator[Path]:
        yield from pictures[:4]
        raise Unplugged

    answers = by_threes.predict(camera())
    assert len([next(answers) for _ in range(4)]) == 4
    with pytest.raises(Unplugged):
        next(answers)
