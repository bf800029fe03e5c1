"""Which tokens see which: layouts, hidden tokens, copies, and tokens that come one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from addkit.denoisers import transformer
from addkit.denoisers.transformer import MOST_COPIES
from addkit.diffusion import Layout
from addkit.processes.autoregressive import causal
from addkit.processes.blocks import BlocksProcess

B, R, N, C, V, D = 2, 3, 6, 4, 12, 16


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[True, False], ids=["time", "no time"])
def denoiser(build, request) -> nn.Module:
    facts = {"condition_width": V, "num_condition_tokens": C, "num_tokens": N}
    module = build("denoiser", "transformer", facts, width=D, depth=3, heads=4, time=request.param)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=_generator(number)))
    return module.eval().requires_grad_(False)


@pytest.fixture
def prepared(denoiser: Any) -> tuple[Tensor, ...]:
    return denoiser.prepare(torch.randn(B, C, V, generator=_generator(91)))


def _state(copies: int, tokens: int = N) -> tuple[Tensor, Tensor]:
    h = torch.randn(B, copies, tokens, D, generator=_generator(92))
    return h, torch.rand(B, copies, tokens, generator=_generator(93))


def _moved(h: Tensor, hidden: Tensor) -> Tensor:
    """Other content where `hidden` (broadcastable to (B, R, n)) is true."""
    other = 3 * torch.randn(h.shape, generator=_generator(94))
    return torch.where(hidden.unsqueeze(-1), other, h)


def _changed(first: Tensor, second: Tensor) -> Tensor:
    """Which tokens' features differ, (B, R, n)."""
    return (first - second).abs().amax(-1) > 1e-5


@pytest.mark.parametrize("split", [(1,) * N, (2, 3, 1), (4, 2)])
def test_extending_is_one_causal_pass(denoiser: Any, prepared, split: tuple[int, ...]) -> None:
    h, t = _state(1)
    whole = denoiser(h, t, prepared, causal(N, h.device))
    known, parts, start = prepared, [], 0
    for count in split:
        place = torch.arange(start, start + count)
        ones = torch.ones(1, 1, count, count, dtype=torch.bool)
        layout = Layout(ones.tril(), place)
        out, known = denoiser.extend(h[:, :, place], t[:, :, place], known, layout)
        parts.append(out)
        start += count
    torch.testing.assert_close(torch.cat(parts, 2), whole, atol=1e-5, rtol=1e-5)
    assert all(part.shape[2] == C + N for part in known)
    assert (whole - denoiser(h, t, prepared)).abs().max() > 1e-3


def test_the_last_token_of_a_causal_pass_sees_all(denoiser: Any, prepared) -> None:
    h, t = _state(1)
    one_block = nn.ModuleList([denoiser.blocks[0]])
    denoiser.blocks = one_block
    whole, free = denoiser(h, t, prepared, causal(N, h.device)), denoiser(h, t, prepared)
    torch.testing.assert_close(whole[:, :, -1], free[:, :, -1])
    assert _changed(whole, free)[:, :, :-1].all()


@pytest.mark.parametrize("own_times", [True, False])
@pytest.mark.parametrize("lengths", [None, "image", "copy"])
@pytest.mark.parametrize("copies", [MOST_COPIES, MOST_COPIES + 1, 2 * MOST_COPIES + 3])
def test_many_copies_are_each_by_itself(
    denoiser: Any, prepared, copies: int, lengths: str | None, own_times: bool
) -> None:
    h, t = _state(copies)
    t = t if own_times else t[:, :1, :1]
    layout = None
    if lengths is not None:
        count = torch.randint(1, N + 1, (B, copies, 1, 1), generator=_generator(95))
        visible = torch.arange(N) < (count if lengths == "copy" else count[:, :1])
        layout = Layout(visible)
    together = denoiser(h, t, prepared, layout)
    for copy in range(copies):
        own = slice(copy, copy + 1)
        alone = layout
        if layout is not None and lengths == "copy":
            alone = Layout(layout.visible[:, own])
        expected = denoiser(h[:, own], t[:, own] if own_times else t, prepared, alone)
        torch.testing.assert_close(together[:, own], expected, atol=1e-5, rtol=1e-4)


def test_the_attention_call_stays_small(monkeypatch, denoiser: Any, prepared) -> None:
    """The mask of all copies at once would grow with their square."""
    largest = 0
    attention = nn.functional.scaled_dot_product_attention

    def watched(query, key, value, attn_mask=None):
        nonlocal largest
        largest = max(largest, attn_mask.numel())
        return attention(query, key, value, attn_mask=attn_mask)

    monkeypatch.setattr(transformer.functional, "scaled_dot_product_attention", watched)
    h, t = _state(40)
    denoiser(h, t, prepared)
    rows = MOST_COPIES * N
    assert 0 < largest <= rows * (rows + C)


@pytest.mark.parametrize("hidden", [[0], [2, 5], [1, 2, 3, 4, 5]])
def test_a_hidden_token_changes_nothing(denoiser: Any, prepared, hidden: list[int]) -> None:
    """Not in its copy, not in others; a token that is seen changes all of its copy."""
    h, t = _state(R)
    gone = torch.zeros(N, dtype=torch.bool)
    gone[hidden] = True
    layout = Layout((~gone)[None, None, None])
    before = denoiser(h, t, prepared, layout)
    after = denoiser(_moved(h, gone.expand(B, R, N)), t, prepared, layout)
    torch.testing.assert_close(after[:, :, ~gone], before[:, :, ~gone], atol=1e-5, rtol=1e-5)
    seen = denoiser(_moved(h, gone.expand(B, R, N)), t, prepared)
    assert _changed(seen, denoiser(h, t, prepared)).all()


def test_each_image_and_copy_hides_its_own(denoiser: Any, prepared) -> None:
    h, t = _state(R)
    present = torch.rand(B, R, N, generator=_generator(96)) < 0.6
    layout = Layout(present.unsqueeze(2))
    before = denoiser(h, t, prepared, layout)
    after = denoiser(_moved(h, ~present), t, prepared, layout)
    torch.testing.assert_close(after[present], before[present], atol=1e-5, rtol=1e-5)


def test_what_a_token_sees_follows_from_the_layout_pair_by_pair(denoiser: Any, prepared) -> None:
    """With one block: token i changes with token j where, and only where, it may see it."""
    denoiser.blocks = nn.ModuleList([denoiser.blocks[0]])
    visible = torch.rand(B, R, N, N, generator=_generator(97)) < 0.5
    visible |= torch.eye(N, dtype=torch.bool)
    h, t = _state(R)
    before = denoiser(h, t, prepared[:2], Layout(visible))
    for token in range(N):
        only = torch.arange(N) == token
        after = denoiser(_moved(h, only.expand(B, R, N)), t, prepared[:2], Layout(visible))
        assert torch.equal(_changed(before, after), visible[..., token])


def test_places_give_the_positions_of_tokens(denoiser: Any, prepared) -> None:
    h, t = _state(1)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    whole = denoiser(h, t, prepared)
    mixed = denoiser(h[:, :, order], t[:, :, order], prepared, Layout(places=order))
    torch.testing.assert_close(mixed, whole[:, :, order], atol=1e-5, rtol=1e-5)
    assert _changed(denoiser(h[:, :, order], t[:, :, order], prepared), mixed).all()


@pytest.mark.parametrize("block", [1, 2, 4, 6])
def test_two_streams_show_each_noisy_token_what_sampling_will(
    denoiser: Any, prepared, block: int
) -> None:
    """The clean tokens of blocks before its own and the noisy ones of its own; nothing else."""
    h, t = _state(R, 2 * N)
    layout = BlocksProcess(block)._layout(N, None, h.device)
    before = denoiser(h, t, prepared, layout)
    blocks = torch.arange(N) // block
    for token in range(2 * N):
        only = torch.arange(2 * N) == token
        changed = _changed(
            before, denoiser(_moved(h, only.expand(B, R, 2 * N)), t, prepared, layout)
        )
        if token < N:
            assert torch.equal(changed[..., :N], (torch.arange(N) >= token).expand(B, R, N))
            assert torch.equal(changed[..., N:], (blocks > blocks[token]).expand(B, R, N))
        else:
            assert not changed[..., :N].any()
            own = blocks == blocks[token - N]
            assert torch.equal(changed[..., N:], own.expand(B, R, N))


def test_a_noisy_token_has_the_position_of_its_clean_twin(denoiser: Any, prepared) -> None:
    """Block 1: the noisy token n after the clean ones before it is the causal pass."""
    clean, t = _state(1)
    noisy = torch.randn(B, 1, N, D, generator=_generator(98))
    layout = BlocksProcess(1)._layout(N, None, clean.device)
    both = denoiser(torch.cat([clean, noisy], 2), torch.cat([t, t], 2), prepared, layout)
    for token in range(N):
        h = torch.cat([clean[:, :, :token], noisy[:, :, token : token + 1]], 2)
        alone = denoiser(h, t[:, :, : token + 1], prepared, causal(token + 1, h.device))
        torch.testing.assert_close(both[:, :, N + token], alone[:, :, token], atol=1e-5, rtol=1e-4)


def test_layouts_follow_their_images() -> None:
    visible = torch.rand(3, 2, 1, N, generator=_generator(1)) < 0.5
    layout = Layout(visible, torch.arange(N), 2)
    picked = layout.select(torch.tensor([2, 0]))
    assert torch.equal(picked.visible, visible[[2, 0]])
    twice = layout.repeated()
    assert torch.equal(twice.visible, torch.cat([visible, visible]))
    for other in (picked, twice):
        assert other.first_answer == 2
        assert other.places is layout.places
    shared = Layout(visible[:1])
    assert shared.select(torch.tensor([1])) is shared
    assert shared.repeated() is shared
    assert Layout().repeated() == Layout()
