"""Answers of a model for the pictures of requests, in batches."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from time import perf_counter
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from addkit.data.formats import read_formats
from addkit.data.images import Pixels, levels_of
from addkit.data.pictures import PictureSource
from addkit.model import Predictor
from addkit.serving.batching import Batcher, QueueFull
from addkit.serving.limits import Limits
from addkit.serving.metrics import Metrics
from addkit.serving.requests import Asked, Question, Refused
from addkit.tasks.predictions import Made

SMALL = 2**16
"""Pixels up to which a picture is decoded at once: a thread would take longer."""


class Picture(NamedTuple):
    """A decoded picture that waits for its answer."""

    levels: Tensor
    """uint8 (C, S, S)."""
    question: Question


class Answering:
    """Decodes pictures on some threads, and predicts on one.

    Args:
        predictor: the model.
        limits: of pixels and waiting requests.
        metrics: counts the sizes and times of batches.
    """

    def __init__(self, predictor: Predictor, limits: Limits, metrics: Metrics) -> None:
        self.predictor, self._limits, self._metrics = predictor, limits, metrics
        self._pixels = Pixels.of(predictor.facts)
        self._decoders = ThreadPoolExecutor(
            min(4, os.cpu_count() or 1), thread_name_prefix="addkit-decode"
        )
        self._batcher = Batcher(self._predict, limits.queue)

    @property
    def waiting(self) -> int:
        """Requests that wait for a batch."""
        return len(self._batcher)

    async def decoded(self, asked: Asked) -> Picture:
        """The picture of a request. Raises `Refused` for too many pixels, and `DataError` for what
        is no picture.
        """
        return Picture(await self._levels(asked.image), asked.question)

    async def answer(self, picture: Picture) -> bytes:
        """The answer as JSON. Raises `Refused` if too many requests wait, and `UsageError` for a
        setting that does not fit the model.
        """
        question, inference = picture.question, self.predictor.inference
        # Bounds memory as the recipe does: its batch with its chains.
        most = self.predictor.recipe.sampling.batch_size
        rows = most * inference.chains
        largest = max(1, min(most, rows // (question.chains or inference.chains)))
        key: object = json.dumps(question.settings, sort_keys=True)
        if question.seed is not None and not self._noise_free(question):
            # Noise is drawn for a whole batch, and must not depend on who else asks.
            key = object()
        try:
            return await self._batcher.result(picture, key, largest)
        except QueueFull:
            raise Refused(429, f"{self._limits.queue} requests wait already; try again") from None

    def _noise_free(self, question: Question) -> bool:
        """True if the answer needs no chain."""
        own = self.predictor.inference
        same = question.read_out in (None, own.read_out.name)
        chains = (question.steps, question.chains, question.evidence) != (None, None, None)
        return own.one_pass and same and not chains

    async def _levels(self, image: bytes) -> Tensor:
        """8-bit levels (C, S, S) of an image file."""
        # Its header alone; what Pillow cannot open is explained below.
        source, pixels = PictureSource(BytesIO(image), "image"), 0
        with suppress(Exception):
            opened = Image.open(BytesIO(image), formats=read_formats())
            source, pixels = source._replace(file=opened), opened.width * opened.height
        if pixels > self._limits.pixels:
            text = f"image: {pixels:,} pixels; at most {self._limits.pixels:,} here"
            raise Refused(422, text, "image")
        if pixels <= SMALL:
            return levels_of(source, self._pixels)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, levels_of, source, self._pixels)

    def _predict(self, pictures: Sequence[Picture]) -> list[bytes]:
        """The answers of pictures with one question, on the model's thread."""
        began = perf_counter()
        levels = torch.stack([picture.levels for picture in pictures])
        images = self._pixels.scaled(levels, torch.empty(levels.shape))
        question = pictures[0].question
        predictions = self.predictor.predict(images, **question.settings)
        self._metrics.predicted(len(pictures), perf_counter() - began)
        return [_json(prediction, question.trace) for prediction in predictions]

    def warm_up(self) -> None:
        """Predict a grey picture: the first prediction takes longer, and shows faults."""
        levels = torch.full((self._pixels.channels, *[self._pixels.image_size] * 2), 127)
        self._predict([Picture(levels.byte(), Question())])

    async def close(self) -> None:
        """Finish what waits, and end the threads."""
        await self._batcher.close()
        self._decoders.shutdown()


def _json(prediction: Any, trace: bool) -> bytes:
    """What `addkit sample --json` has, the best answer in a word, and the steps if asked for."""
    body = {"answer": prediction.summary, **prediction.data()}
    if trace and isinstance(prediction, Made):
        # A step's prediction is made by no read-out: its settings are left out.
        body["trace"] = [
            {"t": step.t, **{k: v for k, v in step.prediction.data().items() if k != "steps"}}
            for step in prediction.trace
        ]
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
