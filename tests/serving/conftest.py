"""Served models: one of digits that is trained, others with random weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fastapi", reason="needs addkit[serve]")

from starlette.testclient import TestClient

from addkit.model import Predictor, build_data, build_network, load
from addkit.recipe import read_recipe
from addkit.serving.app import Service, create_app
from addkit.serving.card import model_card
from addkit.serving.limits import Limits
from addkit.serving.server import GracefulServer, ServerOptions, listening

TINY = (
    *("encoder.widths=[8]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
    *("denoiser.heads=2", "data.image_size=8"),
)
Client = Callable[..., TestClient]


@pytest.fixture(scope="session")
def digits(digits_run: Path) -> Predictor:
    return load(digits_run)


@pytest.fixture(scope="session")
def untrained(recipes: Path) -> Callable[[str], Predictor]:
    """A small model of a recipe with several labels, with random weights."""
    made: dict[str, Predictor] = {}

    def build(name: str) -> Predictor:
        if name not in made:
            recipe = read_recipe(recipes / f"{name}.toml", TINY)
            facts = build_data(recipe).facts
            with torch.random.fork_rng():
                torch.manual_seed(0)
                made[name] = Predictor(build_network(recipe, facts), recipe, facts, 2)
        return made[name]

    return build


@pytest.fixture
def serving(digits: Predictor) -> Iterator[Client]:
    """Clients of a model in this process; by default of the digits, without a token."""
    clients: list[TestClient] = []

    def start(predictor: Predictor = digits, token: str | None = None, **limits: Any) -> TestClient:
        bounds = Limits(**limits)
        service = Service(predictor, model_card(predictor, bounds), token=token, limits=bounds)
        client = TestClient(create_app(service), base_url="http://localhost")
        clients.append(client)
        return client.__enter__()

    yield start
    for client in clients:
        client.__exit__(None)


@pytest.fixture
def listening_server(digits: Predictor) -> Iterator[Callable[..., tuple[GracefulServer, int]]]:
    """Servers on sockets of their own, each on a thread; with their ports."""
    running: list[tuple[GracefulServer, threading.Thread]] = []

    def start(
        predictor: Predictor = digits, token: str | None = None, **limits: Any
    ) -> tuple[GracefulServer, int]:
        bounds, ready = Limits(**limits), threading.Event()
        card = model_card(predictor, bounds)
        service = Service(predictor, card, token=token, limits=bounds)
        sock = listening(ServerOptions(port=0))
        server = GracefulServer.of(service, ready.set)
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        running.append((server, thread))
        assert ready.wait(30)
        return server, sock.getsockname()[1]

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
