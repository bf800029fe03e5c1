"""Deliberate faults of the fast draws and of a reading, each seen by comparing the two doors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

import addkit.embeddings.linear
import addkit.embeddings.posterior
from addkit.diffusion import alpha_bar_at, corrupt, log_likelihood_scale
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding

CLASSES, WIDTH, ROWS = 1000, 16, 3000

Patch = Callable[[pytest.MonkeyPatch], None]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def _distance(embedding: nn.Module, ks: Callable[[Tensor, Tensor], float]) -> float:
    """The largest distance of the doors, over its critical value."""
    embedding.weight.copy_(embedding.weight @ torch.randn(WIDTH, WIDTH, generator=_generator(0)))
    labels = torch.randint(CLASSES, (ROWS, 1, 1), generator=_generator(1))
    own = embedding.weight[labels.flatten()]
    directions = torch.randn(WIDTH, 2, generator=_generator(2))
    worst = 0.0
    for m in (0.5, 2.0, 3.5):
        alpha_bar = alpha_bar_at(torch.full((1, 1, 1), m))
        y_t = corrupt(labels, alpha_bar, CLASSES, _generator(3)).y_t
        doors = embedding.draw(labels, alpha_bar, _generator(4)), embedding.read(y_t, alpha_bar)
        samples = [
            (h.norm(dim=1), cosine_similarity(h, own), *(h @ directions).T)
            for h in (x.flatten(0, 2) for x in doors)
        ]
        worst = max(worst, *(ks(one, other) for one, other in zip(*samples, strict=True)))
    return worst


def _replaced(owner: Any, name: str, change: Callable[[Any], Any]) -> Patch:
    """The owner's attribute replaced by what `change` makes of it."""
    return lambda monkeypatch: monkeypatch.setattr(owner, name, change(getattr(owner, name)))


def _read_by(coefficient: Callable[[Tensor], Tensor]) -> Patch:
    def read(self: PosteriorEmbedding, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        return (coefficient(alpha_bar).unsqueeze(-1) * y_t).softmax(-1) @ self.weight

    return _replaced(PosteriorEmbedding, "read", lambda _: read)


def _shuffled(draw: Any) -> Any:
    return lambda self, labels, *rest: draw(self, labels.roll(1, 0), *rest)


def _always_the_first_classes(largest: Any) -> Any:
    def first(labels: Tensor, num_classes: int, count: int, *rest: Any) -> tuple[Tensor, Tensor]:
        z, classes = largest(labels, num_classes, count, *rest)
        return z, torch.arange(count).expand_as(classes)

    return first


def _no_tail(moments: Any) -> Any:
    return lambda m, below, count: (torch.full_like(below + m, -60.0),) * 2


def _uncentred(moments: Any) -> Any:
    """The second moment for the variance: the prototype's trap."""
    log_phi = torch.special.log_ndtr

    def wrong(m: Tensor, below: Tensor, count: int) -> tuple[Tensor, Tensor]:
        second = 2 * m.square() + log_phi(below - 2 * m) - log_phi(below)
        return moments(m, below, count)[0], second + math.log(count)

    return wrong


POSTERIOR = addkit.embeddings.posterior
LINEAR = addkit.embeddings.linear

FAULTS: dict[str, tuple[str, Patch]] = {
    "posterior: read with c_t squared": (
        "posterior",
        _read_by(lambda alpha_bar: log_likelihood_scale(alpha_bar).square()),
    ),
    "posterior: read without alpha_bar": ("posterior", _read_by(torch.ones_like)),
    "posterior: labels shuffled": ("posterior", _replaced(PosteriorEmbedding, "draw", _shuffled)),
    "posterior: wrong classes not drawn": (
        "posterior",
        _replaced(POSTERIOR, "_largest", _always_the_first_classes),
    ),
    "posterior: tail dropped": ("posterior", _replaced(POSTERIOR, "_tail_moments", _no_tail)),
    "posterior: tail not centred": ("posterior", _replaced(POSTERIOR, "_tail_moments", _uncentred)),
    "posterior: factor forgotten": (
        "posterior",
        _replaced(POSTERIOR, "cholesky", lambda _: lambda gram: torch.zeros_like(gram)),
    ),
    "linear: labels shuffled": ("linear", _replaced(LinearEmbedding, "draw", _shuffled)),
    "linear: factor transposed": (
        "linear",
        _replaced(LINEAR, "cholesky", lambda factor: lambda gram: factor(gram).T),
    ),
    "linear: factor forgotten": (
        "linear",
        _replaced(LINEAR, "cholesky", lambda _: lambda gram: torch.eye(len(gram))),
    ),
}


@pytest.mark.parametrize("kind", ["linear", "posterior"])
def test_right_doors_agree(make, ks, kind: str) -> None:
    assert _distance(make(kind, CLASSES, WIDTH), ks) < 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_door_is_seen(make, ks, monkeypatch, fault: str) -> None:
    kind, patch = FAULTS[fault]
    patch(monkeypatch)
    assert _distance(make(kind, CLASSES, WIDTH), ks) > 1.5
