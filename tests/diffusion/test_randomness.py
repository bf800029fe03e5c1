from __future__ import annotations

import pytest
import torch

from addkit.diffusion import counted_generator, counted_seed, draw_labels


def test_seeds_stay_what_they_are() -> None:
    """A change would make every finished run unrepeatable."""
    assert counted_seed(0, "noise") == 6686151724207900319
    assert counted_seed(0, "noise", 3, 7) == 8262286886127951818


def test_seeds_differ_with_seed_purpose_and_position() -> None:
    seeds = {
        counted_seed(seed, purpose, epoch, step)
        for seed in range(4)
        for purpose in ("noise", "order", "timesteps")
        for epoch in range(10)
        for step in range(10)
    }
    assert len(seeds) == 1200
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_starts_where_its_seed_says() -> None:
    draws = torch.randn(5, generator=counted_generator(1, "noise", 2))
    again = torch.randn(5, generator=torch.Generator().manual_seed(counted_seed(1, "noise", 2)))
    assert torch.equal(draws, again)


def test_labels_are_drawn_by_uniforms_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in single precision end at 1 - 2^-24, which cuts the tail of the Gumbel."""
    rand, drawn = torch.rand, []
    monkeypatch.setattr(torch, "rand", lambda *a, **k: drawn.append(rand(*a, **k)) or drawn[-1])
    draw_labels(torch.zeros(4, 3), torch.Generator().manual_seed(0))
    assert [(x.dtype, x.shape) for x in drawn] == [(torch.float64, (4, 3))]
