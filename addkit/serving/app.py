"""The endpoints, their errors, and who may use them."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from addkit.errors import AddkitError, DataError, UsageError
from addkit.model import Predictor
from addkit.serving.answering import Answering
from addkit.serving.card import ModelCard
from addkit.serving.limits import Limits
from addkit.serving.metrics import Metrics
from addkit.serving.requests import BodyReader, Question, Refused
from addkit.version import __version__

PAGE = files("addkit.serving") / "page"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
SECURITY = {
    # Nothing from another host, no inline code, and no frame around the page.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY.items()]
"""Of every response."""
PROTECTED = ("/predict", "/model", "/metrics")
"""Paths that need the token, if there is one."""


class Fault(BaseModel):
    """The body of every response that is no answer."""

    error: str
    """What was found, and what is allowed."""
    field: str | None = None
    """The field of the body that is wrong."""


class Health(BaseModel):
    """The state of a server."""

    status: str
    waiting: int
    """Requests that wait for a batch."""


@dataclass(slots=True)
class Service:
    """A served model; `stopping` is set by the server when a signal has come."""

    predictor: Predictor
    card: ModelCard
    host: str = "127.0.0.1"
    """The address that the server listens on."""
    token: str | None = None
    """What requests must carry; None: no token, and only for the names of this machine."""
    limits: Limits = field(default_factory=Limits)
    stopping: bool = False


class Score(BaseModel):
    """A class with its probability."""

    name: str
    probability: float
    votes: float


class Answer(BaseModel):
    """The keys of an answer; which ones there are depends on the model."""

    answer: str
    """The best answer as a text."""
    labels: list[Score] | None = None
    """One label: classes, the most probable first."""
    answers: list[dict[str, Any]] | None = None
    """Attributes: joint answers with `values`, `probability` and `votes`, the best first."""
    marginals: dict[str, list[Score]] | None = None
    """Attributes: probabilities of each by itself."""
    tags: list[dict[str, Any]] | None = None
    """Tags: each with `present`, `probability` and `votes`, the present ones first."""
    captions: list[dict[str, Any]] | None = None
    """Captions with `text`, `tokens`, `score` and `probability`, the best first."""
    steps: int
    read_out: str
    trace: list[dict[str, Any]] | None = None
    """With `trace`: `t` of each step of the first chain, and the keys above."""


FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": text}
    for status, text in {
        401: "The token is missing or wrong.",
        403: "Another host's name or page, of a server without a token.",
        408: "The body was sent too slowly.",
        413: "The body is too large.",
        415: "Neither multipart/form-data nor application/json.",
        422: "No picture, too many pixels, or a setting that does not fit.",
        429: "Too many requests wait.",
    }.items()
}


def create_app(service: Service) -> ASGIApp:
    """The ASGI application of a served model, which has predicted once. Its last event waits for
    what is being answered. Raises the model's own errors.
    """
    limits, metrics = service.limits, Metrics()
    reader = BodyReader(limits)
    answering = Answering(service.predictor, limits, metrics)
    answering.warm_up()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await answering.close()

    card = service.card
    app = FastAPI(
        title=f"addkit serve: {card.name}",
        version=__version__,
        description=f"{card.model}, weights {card.weights}. The page at / tries it.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.exception_handler(AddkitError)
    async def refuse(request: Request, error: Exception) -> Response:
        status, field = 500, None
        match error:
            case Refused():
                status, field = error.status, error.field
            case DataError():
                status, field = 422, "image"
            case UsageError():
                status = 422
        return _fault(status, str(error), field)

    @app.exception_handler(HTTPException)
    async def no_such_page(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _fault(error.status_code, f"{request.method} {request.url.path}: {error.detail}")

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        return _fault(500, "a fault of the server, which has printed it")

    @app.post("/predict", openapi_extra=_body(), responses={200: {"model": Answer}, **FAULTS})
    async def predict(request: Request) -> Response:
        """Answer for one picture."""
        async with reader.read(request) as asked:
            picture = await answering.decoded(asked)
        return Response(await answering.answer(picture), media_type="application/json")

    @app.get("/model", responses={401: FAULTS[401]})
    async def model() -> ModelCard:
        """What the model is, what it takes, and how well it does."""
        return card

    @app.get("/health")
    async def health(response: Response) -> Health:
        """200 while requests are taken, 503 once the server is stopping. Needs no token."""
        response.status_code = 503 if service.stopping else 200
        status = "stopping" if service.stopping else "ok"
        return Health(status=status, waiting=answering.waiting)

    @app.get("/metrics", response_class=Response, responses={401: FAULTS[401]})
    async def metrics_text() -> Response:
        """Counters for Prometheus."""
        return Response(metrics.text(answering.waiting), media_type=CONTENT_TYPE_LATEST)

    for path, name in {"/": "index.html", "/docs": "docs.html"}.items():
        app.add_api_route(path, _static(name), include_in_schema=False)
    for asset in PAGE.iterdir():
        app.add_api_route(f"/page/{asset.name}", _static(asset.name), include_in_schema=False)
    return Guard(app, service, metrics)


def _body() -> dict[str, Any]:
    """The body of /predict in OpenAPI: it is read by `BodyReader`, not by FastAPI."""
    schema = Question.model_json_schema()

    def with_image(image: dict[str, str]) -> dict[str, Any]:
        properties = {"image": {"type": "string", **image}, **schema["properties"]}
        return {"schema": {"type": "object", "required": ["image"], "properties": properties}}

    content = {
        "multipart/form-data": with_image({"format": "binary", "description": "An image file."}),
        "application/json": with_image({"description": "Base64 of an image file."}),
    }
    return {"requestBody": {"required": True, "content": content}}


def _fault(status: int, text: str, field: str | None = None) -> JSONResponse:
    headers = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "1"}}.get(status)
    return JSONResponse(Fault(error=text, field=field).model_dump(), status, headers)


def _static(name: str) -> Callable[[], Awaitable[Response]]:
    content, kind = (PAGE / name).read_bytes(), TYPES[Path(name).suffix]

    async def send() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    return send


class Guard:
    """Refuses who may not ask, adds headers to every response, and counts those of /predict."""

    def __init__(self, app: ASGIApp, service: Service, metrics: Metrics) -> None:
        self._app, self._service, self._metrics = app, service, metrics
        self._token = None if service.token is None else service.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, counted = perf_counter(), scope["path"] == "/predict"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
                if self._service.stopping:
                    message["headers"].append((b"connection", b"close"))
                if counted:
                    self._metrics.answered(message["status"], perf_counter() - began)
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        if self._token is not None:
            sent = headers.get(b"authorization", b"")
            right = hmac.compare_digest(sent, b"Bearer " + self._token)
            if right or scope["path"] not in PROTECTED:
                return None
            return _fault(401, "send the server's token as `Authorization: Bearer TOKEN`")
        # Without a token a page of another site could ask, through a browser on this machine,
        # under its own name (DNS rebinding) or from its own origin.
        host = headers.get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in (*LOOPBACK, self._service.host):
            return _fault(
                403, f'host "{host}": without a token, only for the names of this machine'
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.partition("://")[2] != host:
            return _fault(403, f'origin "{origin}": without a token, only for its own page')
        return None
