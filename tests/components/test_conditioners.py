from __future__ import annotations

import pytest
import torch

from addkit.errors import RecipeError

FACTS = {"encoder_width": 12, "num_encoder_tokens": 7, "num_prefix_tokens": 2}
EVERY = ["class-token", "class-tokens", "mean-token", "all-tokens"]
TOKENS = {"class-token": 1, "class-tokens": 2, "mean-token": 1, "all-tokens": 7}


def _tokens() -> torch.Tensor:
    return torch.randn(3, 7, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [None, 20])
def test_a_conditioner_declares_its_shape(build, name: str, width: int | None) -> None:
    conditioner = build("conditioner", name, FACTS, width=width)
    assert conditioner.width == (width or 12)
    assert conditioner.num_tokens == TOKENS[name]
    out = conditioner(_tokens())
    assert out.shape == (3, conditioner.num_tokens, conditioner.width)


@pytest.mark.parametrize("name", EVERY)
def test_a_norm_is_that_of_each_token_before_the_projection(build, name: str) -> None:
    conditioner = build("conditioner", name, FACTS, norm=8)
    out = conditioner(5 * _tokens())
    torch.testing.assert_close(out.norm(dim=-1), torch.full(out.shape[:2], 8.0))
    torch.testing.assert_close(conditioner(_tokens()), out)


def test_class_token_is_the_first(build) -> None:
    tokens = _tokens()
    assert torch.equal(build("conditioner", "class-token", FACTS)(tokens), tokens[:, :1])


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_mean_leaves_the_prefix_tokens_out(build, prefix: int) -> None:
    tokens = _tokens()
    mean = build("conditioner", "mean-token", FACTS | {"num_prefix_tokens": prefix})
    torch.testing.assert_close(mean(tokens), tokens[:, prefix:].mean(1, keepdim=True))


def test_all_tokens_are_all(build) -> None:
    tokens = _tokens()
    assert torch.equal(build("conditioner", "all-tokens", FACTS)(tokens), tokens)


def test_class_tokens_are_the_learned_ones_before_the_image(build) -> None:
    """Figure 2b: some learnable class tokens, of which the first is z_cls."""
    tokens = _tokens()
    assert torch.equal(build("conditioner", "class-tokens", FACTS)(tokens), tokens[:, :2])


@pytest.mark.parametrize("name", ["class-token", "class-tokens"])
def test_class_token_needs_one(build, name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build("conditioner", name, FACTS | {"num_prefix_tokens": 0})
    assert name in str(caught.value)
    assert '"mean-token"' in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_a_projection_is_trained_and_minds_no_scale_of_the_encoder(build, name: str) -> None:
    conditioner = build("conditioner", name, FACTS, width=20)
    tokens = _tokens().requires_grad_()
    out = conditioner(tokens)
    torch.testing.assert_close(conditioner(100 * tokens), out, atol=1e-3, rtol=1e-3)
    out.square().sum().backward()
    assert tokens.grad.any()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in conditioner.parameters())
