"""`draw`: the fast embedding draw against the dense path read(corrupt()), width 512, 1,024 tokens.

Two questions: how many times cheaper it is, and whether its cost grows with K. Sampling runs
without gradients and with the factor of W cached; training is a forward and a backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from measure import Options, Row, Target, alternate, note, ratios
from torch import Tensor, nn
from torch.nn import functional

from addkit.diffusion import corrupt
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding

EMBEDDINGS = ("linear", "posterior")
CLASSES = (10, 1_000, 10_112, 50_257)
FLAT = (1_000, 50_257)
SCALE = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One embedding with labels at random noise levels."""

    embedding: LinearEmbedding | PosteriorEmbedding
    labels: Tensor
    alpha_bar: Tensor
    generator: torch.Generator

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.embedding.weight)

    def draw(self) -> Tensor:
        """Draw the embedding directly."""
        return self.embedding.draw(self.labels, self.alpha_bar, self.generator)

    def dense(self) -> Tensor:
        """Corrupt densely and embed, as the tests' oracle does."""
        noisy = corrupt(self.labels, self.alpha_bar, self.num_classes, self.generator, SCALE)
        return self.embedding.read(noisy.y_t, self.alpha_bar)

    def lean(self) -> Tensor:
        """The dense path without a one-hot tensor: noise in place, the hot entries added to it."""
        shape = (*self.labels.shape, self.num_classes)
        y_t = torch.randn(shape, generator=self.generator)
        signal = self.alpha_bar.unsqueeze(-1)
        hot = (SCALE * signal.sqrt()).expand(*self.labels.shape, 1)
        y_t.mul_((1 - signal).sqrt()).scatter_add_(-1, self.labels.unsqueeze(-1), hot)
        return self.embedding.read(y_t, self.alpha_bar)


def rows(options: Options) -> Iterator[Row]:
    """Sampling, then training, then growth with K."""
    width, tokens = (32, 16) if options.quick else (512, 1024)
    seconds = 0.1 if options.quick else 6.0
    for name in EMBEDDINGS:
        for num_classes in CLASSES:
            note(f"  {name}, K = {num_classes}")
            case = _case(name, num_classes, width, tokens)
            yield _sampling(name, case, seconds)
            if num_classes == CLASSES[-1]:
                yield _against_lean(name, case, seconds)
            yield _training(name, case, seconds)
        yield _growth(name, [_case(name, k, width, tokens) for k in FLAT], seconds)


def _case(name: str, num_classes: int, width: int, tokens: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        embedding = (
            LinearEmbedding(num_classes, width, SCALE)
            if name == "linear"
            else PosteriorEmbedding(num_classes, width, SCALE, spread=0.5, largest=16)
        )
    labels = torch.randint(num_classes, (tokens, 1, 1), generator=generator)
    alpha_bar = torch.rand(tokens, 1, 1, generator=generator)
    return Case(embedding, labels, alpha_bar, generator)


@torch.no_grad()
def _sampling(name: str, case: Case, seconds: float) -> Row:
    largest = case.num_classes == CLASSES[-1]
    return Row(
        name="draw",
        compares=f"{name}, sampling, K = {case.num_classes:,}: dense / draw",
        values=ratios(alternate(case.dense, case.draw, seconds=seconds)),
        target=Target(30, at_least=True) if largest else None,
    )


@torch.no_grad()
def _against_lean(name: str, case: Case, seconds: float) -> Row:
    return Row(
        name="draw",
        compares=f"{name}, sampling, K = {case.num_classes:,}: dense without one-hot / draw",
        values=ratios(alternate(case.lean, case.draw, seconds=seconds)),
    )


def _training(name: str, case: Case, seconds: float) -> Row:
    dense, draw = _stepped(case.embedding, case.dense), _stepped(case.embedding, case.draw)
    return Row(
        name="draw",
        compares=f"{name}, forward + backward, K = {case.num_classes:,}: dense / draw",
        values=ratios(alternate(dense, draw, seconds=seconds)),
    )


def _stepped(embedding: nn.Module, forward: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward, a loss, backward."""

    def step() -> None:
        embedding.zero_grad(set_to_none=True)
        functional.silu(forward()).sum().backward()  # type: ignore[no-untyped-call]

    return step


@torch.no_grad()
def _growth(name: str, cases: list[Case], seconds: float) -> Row:
    small, large = cases
    return Row(
        name="draw",
        compares=f"{name}, sampling: draw at K = {FLAT[1]:,} / at K = {FLAT[0]:,}",
        values=ratios(alternate(large.draw, small.draw, seconds=seconds, fewest=15, most=101)),
        target=Target(1.5),
    )
