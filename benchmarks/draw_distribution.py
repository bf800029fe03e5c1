"""`draw-distribution`: is the fast embedding draw equal in distribution to read(corrupt())?

200,000 draws of each, other noise in each, at three label signal-to-noise ratios, by two-sample
Kolmogorov-Smirnov tests of eight numbers of h. The value of a row is the smallest p of its tests
times the number of all tests (Bonferroni): at least .01 is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from measure import Options, Row, Target, note
from torch import Tensor

from addkit.diffusion import alpha_bar_at, corrupt
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding

EMBEDDINGS = ("linear", "posterior")
CLASSES = (10, 100, 1_000, 10_000)
LEVELS = (1.5, 2.5, 3.0)
"""Label signal-to-noise m, where one noisy label has some information but not all."""
STATISTICS = 8
WIDTH = 16
LEAST_P = 0.01


def rows(options: Options) -> Iterator[Row]:
    """One row for each embedding and K."""
    draws = 2_000 if options.quick else 200_000
    tests = len(EMBEDDINGS) * len(CLASSES) * len(LEVELS) * STATISTICS
    for name in EMBEDDINGS:
        for num_classes in CLASSES:
            note(f"  {name}, K = {num_classes}")
            p_values = [
                p for m in LEVELS for p in _p_values(_embedding(name, num_classes), m, draws)
            ]
            yield Row(
                name="draw-distribution",
                compares=f"{name}, K = {num_classes:,}: smallest of {len(p_values)} p, x {tests}",
                values=[min(1.0, tests * min(p_values))],
                target=Target(LEAST_P, at_least=True),
                note=f"smallest p {min(p_values):.2g}",
            )


def _embedding(name: str, num_classes: int) -> LinearEmbedding | PosteriorEmbedding:
    with torch.random.fork_rng():
        torch.manual_seed(num_classes)
        if name == "linear":
            return LinearEmbedding(num_classes, WIDTH, 1.0)
        return PosteriorEmbedding(num_classes, WIDTH, 1.0, spread=0.5, largest=16)


@torch.no_grad()
def _p_values(embedding: LinearEmbedding | PosteriorEmbedding, m: float, draws: int) -> list[float]:
    """p of each statistic, of labels that are drawn evenly."""
    num_classes = len(embedding.weight)
    alpha_bar = alpha_bar_at(torch.full((1, 1, 1), m))
    labels = torch.randint(num_classes, (draws, 1, 1), generator=_generator(1))
    fast_noise, plain_noise = _generator(2), _generator(3)
    fast, plain = [], []
    # The plain draw needs K normals each: a part at a time.
    for part in labels.split(max(1, 20_000_000 // num_classes)):
        fast.append(embedding.draw(part, alpha_bar, fast_noise))
        y_t = corrupt(part, alpha_bar, num_classes, plain_noise).y_t
        plain.append(embedding.read(y_t, alpha_bar))
    pairs = zip(_statistics(torch.cat(fast)), _statistics(torch.cat(plain)), strict=True)
    return [_p_value(one, other) for one, other in pairs]


def _statistics(h: Tensor) -> list[Tensor]:
    """Three coordinates, three projections, the norm and the squared distance to 0.1."""
    h = h.flatten(0, 2)  # (draws, D)
    directions = torch.randn(WIDTH, 3, generator=_generator(4))
    ends = [h.norm(dim=1), (h - 0.1).square().sum(1)]
    return [*h[:, :3].T, *(h @ directions).T, *ends]


def _p_value(first: Tensor, second: Tensor) -> float:
    """Two-sample Kolmogorov-Smirnov, by its asymptotic distribution (Stephens 1970)."""
    both = torch.cat([first, second]).sort().values
    shares = [
        torch.searchsorted(x.sort().values, both, right=True).double() / len(x)
        for x in (first, second)
    ]
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    level = (root + 0.12 + 0.11 / root) * float((shares[0] - shares[1]).abs().max())
    if level < 0.3:
        return 1.0  # The series below converges slowly there, to 1 - 1e-5.
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * level) ** 2) for k in range(1, 101))
    return min(1.0, 2 * sum(terms))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
