"""The fast door against the plain one: `draw` is `read(corrupt(...))` in distribution."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from addkit.diffusion import alpha_bar_at, corrupt
from addkit.embeddings.posterior import PosteriorEmbedding, _largest

WIDTH = 64
ROWS = {10: 4000, 100: 4000, 1000: 4000, 10112: 2000}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def _both(embedding: nn.Module, m: float, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Embedded labels (rows, D) by the fast door and by the plain one, other noise in each."""
    num_classes, generator = len(embedding.weight), _generator(labels.numel())
    alpha_bar = alpha_bar_at(torch.full((1, 1, 1), m), embedding.scale)
    fast = embedding.draw(labels, alpha_bar, generator)
    plain = [
        embedding.read(
            corrupt(part, alpha_bar, num_classes, generator, embedding.scale).y_t, alpha_bar
        )
        for part in labels.split(500)
    ]
    return fast.flatten(0, 2), torch.cat(plain).flatten(0, 2)


def _covariance_error(first: Tensor, second: Tensor) -> float:
    """||C_1 - C_2|| over its expectation if both are samples of one distribution.

    E||C_n - C||^2 = (E||x||^4 - ||C||^2) / n for centred x, however heavy its tails.
    """
    covariances, expected = [], 0.0
    for rows in (first, second):
        covariances.append(rows.T.cov())
        fourth = (rows - rows.mean(0)).square().sum(1).square().mean()
        expected += float(fourth - covariances[-1].square().sum()) / len(rows)
    return float((covariances[0] - covariances[1]).norm()) / math.sqrt(expected)


@pytest.mark.parametrize("unequal", [False, True], ids=["new", "unequal rows"])
@pytest.mark.parametrize("m", [0.5, 2.0, 3.5])
@pytest.mark.parametrize("num_classes", ROWS)
@pytest.mark.parametrize("kind", ["linear", "posterior"])
def test_draw_has_the_distribution_of_read(
    make, ks, kind: str, num_classes: int, m: float, unequal: bool
) -> None:
    embedding = make(kind, num_classes, WIDTH, unequal=unequal)
    labels = torch.randint(num_classes, (ROWS[num_classes], 1, 1), generator=_generator(1))
    fast, plain = _both(embedding, m, labels)
    own = embedding.weight.detach()[labels.flatten()]
    directions = torch.randn(WIDTH, 2, generator=_generator(2))
    distances = {
        "norm": ks(fast.norm(dim=1), plain.norm(dim=1)),
        "cosine": ks(cosine_similarity(fast, own), cosine_similarity(plain, own)),
        "first projection": ks(fast @ directions[:, 0], plain @ directions[:, 0]),
        "second projection": ks(fast @ directions[:, 1], plain @ directions[:, 1]),
    }
    assert max(distances.values()) < 1, distances


@pytest.mark.parametrize("m", [0.0, 0.5, 2.0, 3.5])
@pytest.mark.parametrize("num_classes", [10, 1000, 10112])
@pytest.mark.parametrize("kind", ["linear", "posterior"])
def test_draw_has_the_moments_of_read(make, kind: str, num_classes: int, m: float) -> None:
    """Of one class, so that the spread between labels hides nothing."""
    embedding = make(kind, num_classes, WIDTH, 2.0, unequal=True)
    fast, plain = _both(embedding, m, torch.full((ROWS[num_classes], 1, 1), 3))
    floor = 1e-6 * float(embedding.weight.detach().square().mean())
    error = (fast.var(0) / len(fast) + plain.var(0) / len(plain) + floor).sqrt()
    assert ((fast.mean(0) - plain.mean(0)).abs() / error).max() < 4.5
    if m > 0 or kind == "linear":
        assert _covariance_error(fast, plain) < 1.6


@pytest.mark.parametrize("num_classes", [5, 64])
def test_linear_draws_plainly_where_the_width_covers_the_classes(make, num_classes: int) -> None:
    embedding = make("linear", num_classes, 64, 1.5)
    _is_plain(embedding, num_classes)


@pytest.mark.parametrize("num_classes", [5, 512])
def test_posterior_draws_plainly_where_classes_are_few(make, num_classes: int) -> None:
    _is_plain(make("posterior", num_classes, 16, 1.5), num_classes)


def _is_plain(embedding: nn.Module, num_classes: int) -> None:
    labels = torch.randint(num_classes, (3, 4, 2), generator=_generator())
    alpha_bar = torch.rand(3, 4, 2, generator=_generator(1))
    y_t = corrupt(labels, alpha_bar, num_classes, _generator(2), embedding.scale).y_t
    drawn = embedding.draw(labels, alpha_bar, _generator(2))
    torch.testing.assert_close(drawn, embedding.read(y_t, alpha_bar), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_classes", [20, 1000])
@pytest.mark.parametrize("kind", ["linear", "posterior"])
def test_each_row_is_drawn_at_its_own_noise_level(make, kind: str, num_classes: int) -> None:
    embedding = make(kind, num_classes, 8).requires_grad_(False)
    labels = torch.randint(num_classes, (2, 3, 4), generator=_generator())
    clean = embedding.weight[labels]
    for shape in ((2, 3, 4), (2, 3, 1), (2, 1, 1), (1, 3, 4), (1, 1, 1)):
        alpha_bar = (torch.arange(math.prod(shape)).view(shape) % 2 == 0).float()
        h = embedding.draw(labels, alpha_bar, _generator(1))
        sure = alpha_bar.expand(2, 3, 4).bool()
        torch.testing.assert_close(h[sure], clean[sure], atol=1e-5, rtol=1e-5)
        assert ((h - clean).norm(dim=-1)[~sure] > 1e-3).all()
        if kind == "posterior":  # Pure noise leaves every class alike, beside any other row.
            mean = embedding.weight.mean(0).expand_as(h)
            torch.testing.assert_close(h[~sure], mean[~sure], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "posterior"])
def test_a_draw_is_decided_by_its_generator(make, kind: str) -> None:
    embedding = make(kind, 1000, 8).requires_grad_(False)
    labels, alpha_bar = torch.full((4, 2, 1), 7), torch.full((1, 1, 1), 0.5)
    one, again, other = (embedding.draw(labels, alpha_bar, _generator(s)) for s in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_posterior_reads_the_exact_posterior_mean(make) -> None:
    embedding = make("posterior", 6, 4, 2.0)
    alpha_bar = torch.tensor([[[0.2]], [[0.7]]])
    y_t = torch.randn(2, 3, 1, 6, generator=_generator())
    means = 2 * alpha_bar.sqrt()[..., None, None] * torch.eye(6)
    density = torch.distributions.Normal(means, (1 - alpha_bar).sqrt()[..., None, None])
    posterior = density.log_prob(y_t.unsqueeze(-2)).sum(-1).softmax(-1)
    expected = posterior @ embedding.weight
    torch.testing.assert_close(embedding.read(y_t, alpha_bar), expected)


def test_linear_reads_by_its_matrix_alone(make) -> None:
    embedding = make("linear", 6, 4)
    y_t = torch.randn(2, 3, 1, 6, generator=_generator())
    for alpha_bar in (torch.zeros(1, 1, 1), torch.full((2, 3, 1), 0.9)):
        expected = torch.einsum("brnk,kd->brnd", y_t, embedding.weight)
        torch.testing.assert_close(embedding.read(y_t, alpha_bar), expected)


@pytest.mark.parametrize("largest", [1, 4, 16, 64, 599, 5000])
def test_posterior_may_treat_any_number_of_classes_exactly(ks, largest: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        embedding = PosteriorEmbedding(600, 8, 1.0, spread=0.5, largest=largest)
    fast, plain = _both(embedding, 1.0, torch.full((2000, 1, 1), 3))
    own = embedding.weight.detach()[3]
    assert ks(fast @ own, plain @ own) < 1


@torch.no_grad()
@pytest.mark.parametrize("level", [0.09, 0.64, 1.0])
def test_a_linear_draw_is_its_scaled_row_and_its_noise(make, level: float) -> None:
    embedding = make("linear", 1000, 8, 2.0)
    labels = torch.arange(6).view(1, 3, 2)
    noisy, noise = (
        embedding.draw(labels, torch.full((1, 1, 1), a), _generator()) for a in (level, 0.0)
    )
    expected = 2 * math.sqrt(level) * embedding.weight[labels] + math.sqrt(1 - level) * noise
    torch.testing.assert_close(noisy, expected)


def test_the_largest_of_the_others_are_order_statistics(ks) -> None:
    """Four of the five other classes, so that each draw changes what is left for the next."""
    rows, count = 20000, 4
    top, classes = _largest(torch.full((rows,), 2), 6, count, _generator())
    plain = torch.randn(rows, 5, generator=_generator(1)).sort(1, descending=True).values
    distances = [ks(top[:, place], plain[:, place]) for place in range(count)]
    distances += [ks(*(x[:, 0] - x[:, 3] for x in (top, plain)))]
    assert max(distances) < 1, distances
    # Different ones, never the label, and each order of them as probable as any other.
    assert classes.sort(1).values.diff(dim=1).min() > 0
    others = torch.tensor([0, 1, 3, 4, 5])
    orders, found = torch.unique(classes, dim=0, return_counts=True)
    assert torch.equal(orders.unique(), others)
    assert len(orders) == 5 * 4 * 3 * 2
    expected = rows / len(orders)
    assert (found - expected).abs().max() < 4.5 * math.sqrt(expected)


@torch.no_grad()
def test_the_tail_has_the_mean_and_the_spread_of_its_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1 / p(label), in which the sum of the other weights stands alone."""
    num_classes, count, bound, m, rows = 40, 3, 0.8, 1.0, 20000
    embedding = PosteriorEmbedding(num_classes, 1, 1.0, spread=1.0, largest=count)
    embedding.weight.zero_()[0] = 1.0
    top = torch.full((rows, count), bound), torch.arange(1, count + 1).expand(rows, -1)
    monkeypatch.setattr("addkit.embeddings.posterior._largest", lambda *_: top)
    randn = torch.randn

    def without_the_labels_noise(*shape: object, **options: object) -> Tensor:
        drawn = randn(*shape, **options)
        drawn[:, 0] = 0.0
        return drawn

    monkeypatch.setattr(torch, "randn", without_the_labels_noise)
    # Without its direction the tail is seen in the sum of the weights alone.
    monkeypatch.setattr(embedding, "moments", lambda weight: (weight.mean(0), torch.zeros(1, 1)))
    labels = torch.zeros(rows, dtype=torch.long)
    h = embedding._draw_rows(labels, torch.full((rows, 1), m), _generator())[:, 0]
    tail = math.exp(m * m) / h - math.exp(m * m) - count * math.exp(m * bound)
    normals = randn(60 * rows, generator=_generator(1))
    below = normals[normals < bound][: (num_classes - 1 - count) * rows]
    plain = (m * below).exp().view(rows, -1).sum(1)
    error = math.sqrt(2 * float(plain.var()) / rows)
    assert abs(float(tail.mean() - plain.mean())) < 4.5 * error
    assert float(tail.std() / plain.std()) == pytest.approx(1, abs=4.5 / math.sqrt(rows))


def test_rows_begin_with_their_spread(make) -> None:
    """Of the posterior embedding as asked; of W so that W eps has variance 1 in each number."""
    for kind, spread in (("posterior", 0.5), ("linear", 1000**-0.5)):
        assert float(make(kind, 1000, 64).weight.detach().std()) == pytest.approx(spread, rel=0.05)
