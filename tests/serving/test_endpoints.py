"""The endpoints: answers are those of `predict`, and every fault is a status with a reason."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from addkit.model import Predictor
from addkit.serving.card import model_card
from addkit.serving.limits import Limits

from .conftest import Client

Answer = dict[str, Any]


def post(client: TestClient, image: bytes, **fields: Any) -> Any:
    """A form with the picture as a file."""
    data = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()
    }
    return client.post("/predict", files={"image": ("a.png", image)}, data=data)


@pytest.fixture(scope="session")
def picture(digit_images: list[Path]) -> bytes:
    return digit_images[0].read_bytes()


def close(answer: Answer, prediction: Any) -> bool:
    """Equal but for the last bits, which depend on a batch's size."""

    def equal(one: Any, other: Any) -> bool:
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
        if isinstance(one, list):
            return len(one) == len(other) and all(map(equal, one, other))
        return bool(one == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other))

    expected = {"answer": prediction.summary, **json.loads(json.dumps(prediction.data()))}
    return equal(answer, expected)


def test_a_form_and_json_get_the_answer_of_predict(
    serving: Client, digits: Predictor, picture: bytes
) -> None:
    client = serving()
    expected = digits.predict(picture)
    form = post(client, picture)
    assert form.status_code == 200
    assert close(form.json(), expected)
    text = base64.b64encode(picture).decode()
    for image in (text, f"data:image/png;base64,{text}"):
        assert client.post("/predict", json={"image": image}).json() == form.json()


def test_a_seed_makes_noise_reproducible(
    serving: Client, digits: Predictor, picture: bytes, digit_images: list[Path]
) -> None:
    client = serving()
    settings: dict[str, Any] = {"steps": 3, "chains": 4, "read_out": "vote", "seed": 7, "top": 3}
    expected = digits.predict(picture, **settings)
    with ThreadPoolExecutor(8) as pool:
        # Among others, which must not change it.
        images = [picture, *(path.read_bytes() for path in digit_images)] * 3
        answers = list(pool.map(lambda image: post(client, image, **settings).json(), images))
    assert all(close(answer, expected) for answer in answers[::4])


def test_requests_that_arrive_together_share_batches(
    serving: Client, digits: Predictor, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, sizes = serving(), []
    images = [path.read_bytes() for path in digit_images] * 8
    expected = digits.predict(images)
    predict = digits.predict

    def counted(batch: Any, **settings: Any) -> Any:
        sizes.append(len(batch))
        return predict(batch, **settings)

    monkeypatch.setattr(digits, "predict", counted)
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(lambda image: post(client, image).json(), images))
    assert all(map(close, answers, expected))
    assert sum(sizes) == len(images)
    assert len(sizes) < len(images)


def test_a_trace_has_each_step(serving: Client, picture: bytes) -> None:
    trace = post(serving(), picture, steps=4, trace=True).json()["trace"]
    assert [step["t"] for step in trace] == [1, 0.75, 0.5, pytest.approx(0.25)]
    assert all(step.keys() == {"t", "labels"} for step in trace)


@pytest.mark.parametrize(
    ("recipe", "known", "wrong", "named"),
    [
        ("attributes", {"given": {"tone": "dark"}}, {"given": {"ton": "dark"}}, "tone"),
        ("tags", {"given": {"woman": "yes"}}, {"given": {"womam": "yes"}}, "woman"),
        ("emoji", {"given": {"template": "red _"}}, {"given": {"template": "zzz _"}}, "zzz"),
        (
            "attributes",
            {"evidence": {"tone": {"dark": 0.9}}, "sampler": "maskgit"},
            {"evidence": {"tone": {"dark": 2}}},
            "dark",
        ),
    ],
)
def test_known_labels_and_evidence(
    recipe: str,
    known: Answer,
    wrong: Answer,
    named: str,
    serving: Client,
    untrained: Callable[[str], Predictor],
    picture: bytes,
) -> None:
    predictor = untrained(recipe)
    client = serving(predictor)
    answer = post(client, picture, **known, seed=1, steps=2, trace=True)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.pop("trace")
    assert close(body, predictor.predict(picture, **known, seed=1, steps=2))
    refused = post(client, picture, **wrong)
    assert refused.status_code == 422
    assert named in refused.json()["error"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 201}, "steps"),
        ({"chains": 65}, "chains"),
        ({"top": 10_000}, "top"),
        ({"stepz": 1}, "stepz"),
        ({"seed": "x"}, "seed"),
        ({"given": [1]}, "given"),
        ({"sampler": "nope"}, None),
    ],
)
def test_wrong_settings_are_named(
    fields: dict[str, Any], field: str | None, serving: Client, picture: bytes
) -> None:
    response = post(serving(), picture, **fields)
    assert response.status_code == 422
    assert response.json()["field"] == field


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "text/plain", 415),
        (b"{", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"image": 3}', "application/json", 422),
        (b'{"image": "?"}', "application/json", 422),
        (b'{"image": ""}', "application/json", 422),
        (b'{"image": "AAAA"}', "application/json", 422),
        (b"nothing", "multipart/form-data", 422),
        (b"nothing", "multipart/form-data; boundary=x", 422),
    ],
)
def test_other_bodies_are_refused(content: bytes, kind: str, status: int, serving: Client) -> None:
    response = serving().post("/predict", content=content, headers={"content-type": kind})
    assert response.status_code == status
    assert response.json()["error"]


def test_limits(serving: Client, picture: bytes) -> None:
    client = serving(body=5000, pixels=400)
    assert post(client, picture).status_code == 200
    assert post(client, bytes(6000)).status_code == 413

    def chunked() -> Any:
        yield from [bytes(1000)] * 6

    kind = {"content-type": "application/json"}
    assert client.post("/predict", content=chunked(), headers=kind).status_code == 413
    large = io.BytesIO()
    Image.new("1", (100, 100)).save(large, "PNG")
    response = post(client, large.getvalue())
    assert (response.status_code, response.json()["field"]) == (422, "image")
    assert "10,000" in response.json()["error"]


def test_a_full_queue_is_429(serving: Client, picture: bytes) -> None:
    response = post(serving(queue=0), picture)
    assert response.status_code == 429
    assert response.headers["retry-after"]


def test_a_token_is_compared(serving: Client, picture: bytes) -> None:
    client = serving(token="s3cret")
    for path in ("/model", "/metrics"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"authorization": "Bearer s3cre"}).status_code == 401
        assert client.get(path, headers={"authorization": "Bearer s3cret"}).status_code == 200
    response = post(client, picture)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/health").status_code == 200
    assert client.get("/", headers={"host": "example.org"}).status_code == 200


def test_without_a_token_only_this_machine_asks(serving: Client, picture: bytes) -> None:
    client = serving()
    for host, status in {
        "localhost:80": 200,
        "127.0.0.1": 200,
        "[::1]:80": 200,
        "example.org": 403,
        "localhost.example.org:80": 403,
    }.items():
        assert client.get("/health", headers={"host": host}).status_code == status
    for origin, status in {"http://localhost": 200, "http://example.org": 403}.items():
        assert client.get("/health", headers={"origin": origin}).status_code == status


def test_other_endpoints(serving: Client, digits: Predictor, picture: bytes) -> None:
    client = serving()
    assert client.get("/health").json() == {"status": "ok", "waiting": 0}
    card = client.get("/model").json()
    assert card == json.loads(model_card(digits, Limits()).model_dump_json())
    assert card["labels"] == list(digits.class_names)
    post(client, picture)
    post(client, b"none")
    text = client.get("/metrics").text
    for status in (200, 422):
        assert f'addkit_requests_total{{status="{status}"}} 1.0' in text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/model", "/health", "/metrics"} == set(paths)
    form = paths["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"image", "steps", "given"} <= set(form["properties"])
    unknown = client.get("/nope")
    assert (unknown.status_code, "error" in unknown.json()) == (404, True)


def test_pages_load_nothing_from_elsewhere(serving: Client) -> None:
    client = serving()
    for path in ("/", "/docs"):
        response = client.get(path)
        assert "text/html" in response.headers["content-type"]
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "//" not in response.text.replace("<!doctype", "")


def test_the_card_of_a_run_has_its_scores(digits: Predictor, digits_run: Path) -> None:
    card = model_card(digits, Limits(), digits_run)
    assert card.scores["top1"] is not None
    middle = model_card(digits, Limits(), next((digits_run / "checkpoints").glob("step-*")))
    assert middle.model == card.model
