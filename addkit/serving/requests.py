"""The body of `POST /predict`: one picture and the settings of its answer, checked."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

from fastapi import Request
from pydantic import Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from addkit.errors import AddkitError
from addkit.plugin.config import Chains, Config, Count, CountOrZero, Guidance, Seed, Share, Steps
from addkit.recipe.validation import explained, validated
from addkit.serving.limits import Limits

Text = Annotated[str, Field(max_length=1000)]
Texts = Annotated[dict[Text, Text], Field(max_length=1000)]
Evidence = Annotated[dict[Text, dict[Text, Share]], Field(max_length=1000)]
MOST_FIELDS = 32


class Refused(AddkitError):  # noqa: N818 - the server works
    """A request that gets no answer.

    Args:
        status: of HTTP.
        text: what was found and what is allowed.
        field: of the body, if one is wrong.
    """

    def __init__(self, status: int, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.status, self.field = status, field


class Question(Config):
    """Settings of an answer, named as the arguments of `addkit.Predictor.predict`."""

    steps: Annotated[Steps | None, Field(description="Denoising steps of a chain.")] = None
    chains: Annotated[
        Chains | None, Field(description="Chains; the answer then has their votes.")
    ] = None
    guidance: Annotated[
        Guidance | None, Field(description="w in uncond + w (cond - uncond); 1 is off.")
    ] = None
    early_exit: Annotated[
        CountOrZero | None,
        Field(description="Stop once the answer has not changed for this many steps."),
    ] = None
    sampler: Annotated[Text | None, Field(description="Name of a component.")] = None
    to_one: Annotated[Text | None, Field(description="Name of a component.")] = None
    read_out: Annotated[Text | None, Field(description="Name of a component.")] = None
    given: Annotated[
        Texts | None,
        Field(
            description="Known labels: values of attributes by name, or of a caption its "
            "`template` (`a red _`) or `length`."
        ),
    ] = None
    evidence: Annotated[
        Evidence | None,
        Field(
            description="Soft evidence on attributes: of each the probabilities of some values, as "
            'this evidence alone gives them, `{"tone": {"dark": 0.8}}`; others share the rest.'
        ),
    ] = None
    side_inputs: Annotated[
        Texts | None, Field(description="Values by column, for models that read side inputs.")
    ] = None
    seed: Annotated[
        Seed | None,
        Field(
            description="Seed of the noise. With it an answer that draws noise is computed alone, "
            "and equals that of `predict` for this picture and seed."
        ),
    ] = None
    top: Annotated[Count, Field(description="Number of answers.")] = 5
    trace: Annotated[bool, Field(description="Also return the prediction of each step.")] = False

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `predict` that were given."""
        return self.model_dump(exclude_none=True)

    def check(self, limits: Limits) -> None:
        """Raise `Refused` for more work than one request may ask for."""
        for name in ("steps", "chains", "top"):
            value, most = getattr(self, name), getattr(limits, name)
            if value is not None and value > most:
                raise Refused(422, f"{name} must be at most {most} here, found {value}.", name)


TEXTS = ("sampler", "to_one", "read_out")
"""Fields of a form that are texts; the others are JSON."""


class Asked(NamedTuple):
    """A request's body."""

    image: bytes
    """An image file."""
    question: Question


class BodyReader:
    """Reads the bodies of a process's requests, and bounds the memory of all of them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._bytes = 0
        """Of the bodies that are in memory."""

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[Asked]:
        """Yield a request's picture and settings; the body counts as memory until the exit.

        Raises `Refused` with 408, 413, 415, 422 or 429, and 400 if the client is gone.
        """
        limits = self.limits
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("multipart/form-data", "application/json"):
            raise Refused(
                415,
                f'content-type "{kind}": send multipart/form-data with a file named image, or '
                "application/json with its base64 under image",
            )
        too_large = Refused(413, f"the body is larger than {limits.body:,} bytes")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limits.body:
            raise too_large
        size = 0

        async def chunks() -> AsyncGenerator[bytes, None]:
            nonlocal size
            async for chunk in request.stream():
                size += len(chunk)
                self._bytes += len(chunk)
                if size > limits.body:
                    raise too_large
                if self._bytes > limits.body * limits.bodies:
                    raise Refused(429, "too many large bodies at once; try again later")
                yield chunk

        try:
            try:
                async with asyncio.timeout(limits.body_seconds):
                    if kind == "application/json":
                        asked = _from_json(b"".join([chunk async for chunk in chunks()]))
                    else:
                        asked = await _from_form(request, chunks())
            except TimeoutError:
                raise Refused(408, f"the body took over {limits.body_seconds:g} s") from None
            except ClientDisconnect:
                raise Refused(400, "the client closed the connection") from None
            asked.question.check(limits)
            yield asked
        finally:
            self._bytes -= size


class _Parser(MultiPartParser):
    # In memory: the body's size is bounded, and a full disk must not matter.
    spool_max_size = 2**62


async def _from_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> Asked:
    parser = _Parser(request.headers, chunks, max_files=1, max_fields=MOST_FIELDS)
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError, ValueError) as error:
        text = getattr(error, "message", str(error))
        raise Refused(422, f"no multipart/form-data: {text}") from None
    values: dict[str, Any] = {}
    image = b""
    items = [
        (name, await value.read() if isinstance(value, UploadFile) else value)
        for name, value in form.multi_items()
    ]
    await form.close()
    for name, value in items:
        if isinstance(value, bytes):
            if name != "image":
                raise Refused(422, f'file "{name}": the file of the picture is named image', name)
            image = value
        elif name in values:
            raise Refused(422, f"{name}: twice", name)
        elif name == "image":
            raise Refused(422, "image: a text; send it as a file, with a filename", name)
        else:
            values[name] = value if name in TEXTS else _json_or_text(value)
    return Asked(_given(image), _question(values))


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _from_json(body: bytes) -> Asked:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"no JSON: {error}") from None
    if not isinstance(values, dict):
        raise Refused(422, "the body must be a JSON object")
    text = values.pop("image", "")
    if not isinstance(text, str):
        raise Refused(422, "image must be a string, the base64 of an image file", "image")
    # Browsers give files as data:image/png;base64,...
    text = text.partition(",")[2] if text.startswith("data:") else text
    try:
        image = b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise Refused(422, f"image: no base64: {error}", "image") from None
    return Asked(_given(image), _question(values))


def _given(image: bytes) -> bytes:
    if not image:
        raise Refused(422, "image: missing or empty; send an image file", "image")
    return image


def _question(values: Mapping[str, Any]) -> Question:
    try:
        return validated(Question, values)
    except ValidationError as error:
        faults = list(explained(error, values, ("image", *Question.model_fields)))
        field = str(faults[0].path[0]) if faults[0].path else None
        raise Refused(422, " ".join(fault.text for fault in faults), field) from None
