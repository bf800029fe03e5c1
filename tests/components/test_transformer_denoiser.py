"""The prepared transformer against a plain one, copy by copy, without preparation or mask."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

B, R, N, C, V, D = 3, 4, 5, 6, 12, 16


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[True, False], ids=["time", "no time"])
def denoiser(build, request):
    facts = {"condition_width": V, "num_condition_tokens": C, "num_tokens": N}
    module = build("denoiser", "transformer", facts, width=D, depth=3, heads=4, time=request.param)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            noise = torch.randn(parameter.shape, generator=_generator(number))
            parameter.copy_(0.25 * noise)
    return module.eval().requires_grad_(False)


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    h = torch.randn(B, R, N, D, generator=_generator(1))
    t = torch.rand(B, R, N, generator=_generator(2))
    return h, t, torch.randn(B, C, V, generator=_generator(3))


def _norm(x: Tensor, layer) -> Tensor:
    scaled = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return scaled if layer.weight is None else scaled * layer.weight + layer.bias


def _attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """(N, D) queries over (M, D) keys and values."""
    out = []
    for part in torch.arange(queries.shape[1]).chunk(heads):
        scores = queries[:, part] @ keys[:, part].T / math.sqrt(len(part))
        out.append(scores.softmax(-1) @ values[:, part])
    return torch.cat(out, -1)


def _plain_block(block, x: Tensor, condition: Tensor, time: Tensor | None) -> Tensor:
    """One copy's tokens (N, D) and its condition tokens (C, D), all keys computed anew."""
    ones = torch.ones_like(x)
    shift1, scale1, gate1, shift2, scale2, gate2 = (
        (0 * ones, 0 * ones, ones) * 2 if time is None else block.modulation(time).chunk(6, -1)
    )
    own = _norm(x, block.norm1) * (1 + scale1) + shift1
    everything = torch.cat([_norm(condition, block.condition_norm), own])
    keys, values = block.key_value(everything).chunk(2, -1)
    attended = block.project(_attention(block.query(own), keys, values, block.heads))
    x = x + gate1 * attended
    return x + gate2 * block.mlp(_norm(x, block.norm2) * (1 + scale2) + shift2)


def _plain(denoiser, h: Tensor, t: Tensor, condition: Tensor) -> Tensor:
    out = torch.empty_like(h)
    for image in range(B):
        tokens = denoiser.condition(condition[image])
        for copy in range(R):
            x = h[image, copy] + denoiser.position
            time = None if denoiser.time is None else silu(denoiser.time(t[image, copy]))
            for block in denoiser.blocks:
                x = _plain_block(block, x, tokens, time)
            out[image, copy] = _norm(x, denoiser.norm)
    return out


def test_the_prepared_path_is_the_plain_transformer(denoiser, inputs) -> None:
    h, t, condition = inputs
    fast = denoiser(h, t, denoiser.prepare(condition))
    torch.testing.assert_close(fast, _plain(denoiser, h, t, condition), atol=1e-5, rtol=1e-5)


def test_preparation_is_keys_and_values_of_every_block(denoiser, inputs) -> None:
    prepared = denoiser.prepare(inputs[2])
    assert [tuple(part.shape) for part in prepared] == [(B, 4, C, D // 4)] * 6


def test_copies_do_not_see_each_other(denoiser, inputs) -> None:
    h, t, condition = inputs
    prepared = denoiser.prepare(condition)
    changed, other_t = h.clone(), t.clone()
    changed[:, 2] *= -1
    other_t[:, 2] = 1 - t[:, 2]
    difference = (denoiser(changed, other_t, prepared) - denoiser(h, t, prepared)).abs()
    difference = difference.amax((0, 2, 3))
    assert difference[2] > 1e-2
    assert difference[[0, 1, 3]].max() < 1e-6


def test_tokens_of_a_copy_see_each_other(denoiser, inputs) -> None:
    h, t, condition = inputs
    prepared = denoiser.prepare(condition)
    changed = h.clone()
    changed[:, 2, 1] *= -1
    difference = (denoiser(changed, t, prepared) - denoiser(h, t, prepared)).abs()
    assert (difference[:, 2].amax(-1) > 1e-4).all()


def test_images_do_not_see_each_other(denoiser, inputs) -> None:
    h, t, condition = inputs
    other = condition.clone()
    other[1] *= -1
    difference = denoiser(h, t, denoiser.prepare(other)) - denoiser(
        h, t, denoiser.prepare(condition)
    )
    assert difference[1].abs().max() > 1e-3
    assert difference[[0, 2]].abs().max() < 1e-6


def test_the_order_of_label_tokens_matters_and_that_of_condition_tokens_does_not(
    denoiser, inputs
) -> None:
    h, t, condition = inputs
    out = denoiser(h, t, denoiser.prepare(condition))
    turned = denoiser(h, t, denoiser.prepare(condition.flip(1)))
    torch.testing.assert_close(turned, out, atol=1e-5, rtol=1e-5)
    moved = denoiser(h.flip(2), t.flip(2), denoiser.prepare(condition)).flip(2)
    assert (moved - out).abs().max() > 1e-3


def test_a_condition_of_the_denoisers_width_is_not_projected(build) -> None:
    facts = {"condition_width": 16, "num_condition_tokens": C, "num_tokens": 1}
    module = build("denoiser", "transformer", facts, width=16, heads=2, depth=1)
    assert isinstance(module.condition, torch.nn.Identity)
    assert module.position is None
