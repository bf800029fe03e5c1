"""Known tokens and masks; and the posterior embedding's mean row at t = T, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from addkit.diffusion import corrupt
from addkit.embeddings.token import TokenEmbedding

K, WIDTH = 1000, 32


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def token() -> TokenEmbedding:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TokenEmbedding(6, 4, 2.0, spread=0.5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (1, 2, 5), (3, 2, 5)])
def test_a_clean_token_is_its_row_and_a_masked_one_the_mask(token, shape) -> None:
    labels = torch.randint(6, (3, 2, 5), generator=_generator())
    known = torch.rand(shape, generator=_generator(1)) < 0.5
    known = known if known.numel() > 1 else torch.ones(shape, dtype=torch.bool)
    h = token.draw(labels, known.float(), _generator())
    everywhere = known.expand(3, 2, 5)
    assert torch.equal(h[everywhere], token.weight[labels[everywhere]])
    assert torch.equal(h[~everywhere], token.mask.expand(int((~everywhere).sum()), -1))


def test_read_and_draw_agree_without_noise(token) -> None:
    """A held known token is b y_0; a held hidden one is noise, which is not read."""
    labels = torch.randint(6, (3, 2, 5), generator=_generator())
    alpha_bar = (torch.rand(3, 2, 5, generator=_generator(1)) < 0.5).float()
    held = corrupt(labels, alpha_bar, 6, _generator(2), scale=2.0).y_t
    torch.testing.assert_close(
        token.read(held, alpha_bar), token.draw(labels, alpha_bar, _generator())
    )


def test_a_soft_label_is_its_mean_row(token) -> None:
    soft = torch.rand(1, 1, 2, 6, generator=_generator()).softmax(-1)
    h = token.read(2.0 * soft, torch.ones(1, 1, 1))
    torch.testing.assert_close(h, soft @ token.weight)


def test_nothing_is_drawn_and_all_of_it_learns(token) -> None:
    generator = _generator()
    before = generator.get_state()
    alpha_bar = torch.tensor([[[1.0, 0.0]]])
    token.draw(torch.tensor([[[3, 1]]]), alpha_bar, generator).sum().backward()
    assert torch.equal(generator.get_state(), before)
    assert token.weight.grad.abs().sum(1).nonzero().flatten().tolist() == [3]
    assert (token.mask.grad == 1).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (1, 3, 5), (4, 3, 5)])
def test_pure_noise_is_the_mean_row(make, shape: tuple[int, int, int]) -> None:
    """Whatever the noise: every class weighs the same."""
    embedding = make("posterior", K, WIDTH, 1.5, unequal=True).requires_grad_(False)
    labels = torch.randint(K, (4, 3, 5), generator=_generator())
    h = embedding.draw(labels, torch.zeros(shape), _generator(1))
    torch.testing.assert_close(h, embedding.weight.mean(0).expand(4, 3, 5, -1))
    held = torch.randn(2, 1, 1, K, generator=_generator(2))
    torch.testing.assert_close(embedding.read(held, torch.zeros(shape)[:1, :1, :1]), h[:2, :1, :1])


def test_pure_noise_takes_no_draws_from_the_rows_that_speak(make) -> None:
    """Rows at t = T in a batch leave the others' distribution, and gradients, as they are."""
    embedding = make("posterior", K, WIDTH)
    labels = torch.randint(K, (2, 2, 4), generator=_generator())
    alpha_bar = torch.tensor([0.0, 0.4, 0.0, 0.7]).expand(2, 2, 4)
    mixed = embedding.draw(labels, alpha_bar, _generator(3))
    speaks = alpha_bar > 0
    alone = embedding.draw(
        labels[speaks].view(8, 1, 1), alpha_bar[speaks].view(8, 1, 1), _generator(3)
    )
    torch.testing.assert_close(mixed[speaks], alone.view(8, -1))
    (gradient,) = torch.autograd.grad(mixed[~speaks].sum(), embedding.weight)
    torch.testing.assert_close(gradient, torch.full_like(gradient, 8 / K))


@torch.no_grad()
def test_a_mixed_batch_has_each_rows_own_distribution(make, ks) -> None:
    """Against the plain door, level by level, along random directions."""
    embedding = make("posterior", K, WIDTH, unequal=True)
    rows = 2000
    labels = torch.full((rows, 1, 4), 3)
    alpha_bar = torch.tensor([0.0, 0.2, 0.6, 0.9]).expand(rows, 1, 4)
    fast = embedding.draw(labels, alpha_bar, _generator(4))
    plain = torch.cat(
        [_plain(embedding, part, seed) for seed, part in enumerate(labels.split(250))]
    )
    direction = torch.randn(WIDTH, generator=_generator(5))
    own = embedding.weight[3]
    for token in range(1, 4):
        for along in (direction, own):
            assert ks(fast[:, 0, token] @ along, plain[:, 0, token] @ along) < 1


def _plain(embedding, labels: Tensor, seed: int) -> Tensor:
    alpha_bar = torch.tensor([0.0, 0.2, 0.6, 0.9]).expand(labels.shape)
    return embedding.read(corrupt(labels, alpha_bar, K, _generator(100 + seed)).y_t, alpha_bar)
