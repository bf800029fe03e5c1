"""timm's published weights: the input they expect, and their download from a hub on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save

from addkit.encoders.pretrained import expected_input, weights_file
from addkit.encoders.settings import TimmConfig, VitConfig
from addkit.errors import RecipeError

MODEL = "test_resnet.r160_in1k"


class Hub(ThreadingHTTPServer):
    """Serves files with the layout and headers of the Hugging Face hub; others are not found."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.server.files.get(self.path, b""))

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def _point_to(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, and an empty cache."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        _point_to(server.url, tmp_path / "cache", monkeypatch)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def trained() -> dict[str, torch.Tensor]:
    """Weights that no new model has, a classifier's included."""
    state = timm.create_model(MODEL).state_dict()
    return {name: x + 1 if x.is_floating_point() else x for name, x in state.items()}


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_are_downloaded_once(hub: Hub, build, trained, tmp_path: Path, file: str) -> None:
    content = save(trained)
    if file.endswith(".bin"):
        torch.save(trained, tmp_path / "model.bin")
        content = (tmp_path / "model.bin").read_bytes()
    hub.files[f"/timm/{MODEL}/resolve/main/{file}"] = content
    facts = {"image_size": 32, "image_channels": 3}
    settings = {"model": MODEL, "pretrained": True}
    TimmConfig(**settings).fetch_weights()
    asked = len(hub.requests)
    assert asked
    # From the cache from here on, without a question.
    encoder = build("encoder", "timm", facts, **settings)
    assert len(hub.requests) == asked
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, trained[name]), name
    # Grey pictures: timm sums the first layer's weights over the colours.
    grey = build("encoder", "timm", {**facts, "image_channels": 1}, **settings)
    torch.testing.assert_close(
        grey.model.conv1[0].weight, trained["conv1.0.weight"].sum(1, keepdim=True)
    )


def test_what_cannot_be_downloaded_is_one_line(hub: Hub) -> None:
    with pytest.raises(
        RecipeError, match=r"^\[encoder\] pretrained: .*encoder\.weights=FILE"
    ) as caught:
        weights_file(MODEL)
    assert "\n" not in str(caught.value)
    assert len(hub.requests) <= 2


def test_a_hub_out_of_reach_is_not_asked_again(tmp_path, monkeypatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), HubHandler) as server:
        port = server.server_port
    _point_to(f"http://127.0.0.1:{port}", tmp_path, monkeypatch)
    asked: list[float] = []
    monkeypatch.setattr("time.sleep", asked.append)
    with pytest.raises(RecipeError, match="image-folder-small"):
        weights_file(MODEL)
    assert not asked, "it waits to ask again"


def test_a_local_file_replaces_the_download(hub: Hub, build, trained, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(save(trained))
    settings = {"model": MODEL, "pretrained": True, "weights": str(tmp_path / "x.safetensors")}
    TimmConfig.model_validate(settings).fetch_weights()
    facts = {"image_size": 32, "image_channels": 3}
    encoder = build("encoder", "timm", facts, **settings)
    assert torch.equal(encoder.model.state_dict()["conv1.0.weight"], trained["conv1.0.weight"])
    assert hub.requests == []


# What weights expect.


def test_the_input_is_timms() -> None:
    found = expected_input("tf_efficientnet_lite0")
    assert found is not None
    assert (found.image_size, found.mean, found.std) == (224, (0.5,) * 3, (0.5,) * 3)
    assert (found.interpolation, found.crop_share) == ("bicubic", 0.875)
    assert "tf_efficientnet_lite0.in1k" in found.origin


def test_only_pretrained_weights_expect_an_input() -> None:
    assert VitConfig().expected_input() is None
    assert TimmConfig(model=MODEL).expected_input() is None
    assert TimmConfig(model=MODEL, pretrained=True).expected_input() == expected_input(MODEL)
    assert TimmConfig(model=MODEL, weights=Path("x")).expected_input() == expected_input(MODEL)
