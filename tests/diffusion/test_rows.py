"""The output layer and the loss in chunks, against all rows at once."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from addkit.diffusion import LabelDiffusion, State
from addkit.losses.cross_entropy import CrossEntropy, WeightedCrossEntropy
from addkit.losses.mse import CleanMse

from .networks import WIDTH, generator, network

# Not by `import`: the package's `objective` is the function of the same name.
chunked_loss = import_module("addkit.diffusion.objective")

B, R, N, K = 3, 4, 5, 30
RANGES = ((0, 4), (4, 9), (9, 10), (10, 25), (25, 30))
LOSSES = {
    "ce": CrossEntropy(0.0),
    "smooth": CrossEntropy(0.1),
    "weighted": WeightedCrossEntropy(0.0, 0.4),
    "mse": CleanMse(),
}


def _problem(model: LabelDiffusion, copies: int = R) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels of which every other is the most probable class, and levels."""
    features = torch.randn(B, copies, N, WIDTH, generator=generator(1))
    with torch.no_grad():
        best = model.logits(model.outputs(features), None, torch.zeros(1, 1, 1)).argmax(-1)
    first = torch.tensor([start for start, _ in RANGES])
    labels = torch.where(torch.arange(B * R * N).view(B, R, N) % 2 == 0, best, first)
    alpha_bar = torch.rand(B, R, N, generator=generator(2))
    return features, labels, alpha_bar


def _graded(
    model: LabelDiffusion, features: Tensor, labels: Tensor, alpha_bar: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Losses, hits, and gradients of an uneven sum, to the features and the output layer."""
    features = features.clone().requires_grad_()
    state = State(torch.zeros(0))
    losses, right = chunked_loss.token_losses(model, features, state, alpha_bar, labels)
    weights = torch.rand(B, R, N, generator=generator(3))
    wanted = [features, *model.output.parameters()]
    return losses, right, list(torch.autograd.grad((losses * weights).sum(), wanted))


@pytest.mark.parametrize("copies", [R, 1])
@pytest.mark.parametrize("ranges", [(), RANGES], ids=["free", "ranges"])
@pytest.mark.parametrize("loss", LOSSES)
def test_chunks_change_nothing(monkeypatch, loss: str, ranges: tuple, copies: int) -> None:
    model = network(num_classes=K, num_tokens=N, token_classes=ranges, loss=LOSSES[loss])
    problem = _problem(model, copies)
    losses, right, gradients = _graded(model, *problem)
    assert 0 < right.float().mean() < 1
    monkeypatch.setattr(chunked_loss, "LARGEST", 7 * K)
    chunked = _graded(model, *problem)
    torch.testing.assert_close(chunked[0], losses)
    assert torch.equal(chunked[1], right)
    for one, other in zip(chunked[2], gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ranges", [(), RANGES], ids=["free", "ranges"])
@pytest.mark.parametrize("largest", [1, 7 * K])
def test_the_most_likely_classes_are_those_of_the_logits(monkeypatch, ranges, largest: int) -> None:
    model = network(num_classes=K, num_tokens=N, token_classes=ranges)
    features, _, alpha_bar = _problem(model)
    logits = model.logits(model.outputs(features), None, alpha_bar)
    monkeypatch.setattr(chunked_loss, "LARGEST", largest)
    best = chunked_loss.most_likely(model, features, State(torch.zeros(0)), alpha_bar)
    assert torch.equal(best, logits.argmax(-1))
    for token, (start, stop) in enumerate(ranges):
        assert ((best[..., token] >= start) & (best[..., token] < stop)).all()


def test_a_held_state_counts_in_the_most_likely_class() -> None:
    model = network(num_classes=K, num_tokens=N, bayes_skip=True)
    features, _, alpha_bar = _problem(model)
    y_t = 40 * torch.randn(B, R, N, K, generator=generator(4))
    best = chunked_loss.most_likely(model, features, State(torch.zeros(0), y_t), alpha_bar)
    outputs = model.outputs(features, State(torch.zeros(0), y_t), alpha_bar)
    assert torch.equal(best, outputs.argmax(-1))
    assert not torch.equal(best, model.outputs(features).argmax(-1))


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(made, Tensor):
                self.numbers = max(self.numbers, made.numel())
        return out


@pytest.mark.parametrize("ranges", [(), RANGES], ids=["free", "ranges"])
def test_no_tensor_is_larger_than_a_chunk(monkeypatch, ranges: tuple) -> None:
    """Forward and backward; weight, features and gradients by themselves are smaller here."""
    model = network(num_classes=2000, num_tokens=N, token_classes=ranges)
    features, labels, alpha_bar = _problem(model)
    everything = B * R * N * 2000
    chunk = everything // 3
    monkeypatch.setattr(chunked_loss, "LARGEST", chunk)
    with Largest() as seen:
        _graded(model, features, labels, alpha_bar)
    assert 0 < seen.numbers <= chunk
    with Largest() as seen:
        chunked_loss.most_likely(model, features, State(torch.zeros(0)), alpha_bar)
    assert 0 < seen.numbers <= chunk
    monkeypatch.undo()
    with Largest() as seen:
        _graded(model, features, labels, alpha_bar)
    assert seen.numbers >= everything
