"""Which timesteps a training step draws, and which ones a chain visits."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.plugin.values import TimeSettings


def draw_times(
    shape: tuple[int, int, int], generator: torch.Generator, settings: TimeSettings
) -> Tensor:
    """Training times (B, R, N).

    t ~ U[0, 1] (section 3.2), in strata inside an image, t_j = ((u + j / R) mod 1) ** power, so
    that the R copies are distinct (section 3.3); `warp` may replace the power. A share
    `pure_noise` of rows sits at t = 1. Of the others, the tokens of a row share one t, or each
    has its own, or each is clean (t = 0) with chance 1 - u and else at t = 1.
    """
    batch, reuse, num_tokens = shape
    device = generator.device
    u = torch.rand((batch, 1 if settings.stratified else reuse), generator=generator, device=device)
    if settings.stratified:
        u = (u + torch.arange(reuse, device=device) / reuse) % 1.0  # (B, R)
    t = settings.at(u).unsqueeze(-1).expand(shape)  # (B, R, N)
    # Nothing is drawn where no row needs it, so that recipes of one label draw as they always did.
    together, apart, _ = settings.token_times
    total = sum(settings.token_times)
    if num_tokens > 1 and together < total:
        # The kind of each row is drawn for the row by itself.
        kind = torch.rand((*u.shape, 1), generator=generator, device=device) * total
        each = torch.rand(shape, generator=generator, device=device)
        clean_or_noise = (each < u.unsqueeze(-1)).float()
        # (B, R, N); a clean-or-noise row keeps its share of noise, u, unwarped.
        own = torch.where(kind < together + apart, settings.at(each), clean_or_noise)
        t = torch.where(kind < together, t, own)
    at_noise = even_rows(batch, reuse, settings.pure_noise, generator)
    return torch.where(at_noise.unsqueeze(-1), torch.ones_like(t), t)


def even_rows(batch: int, reuse: int, share: float, generator: torch.Generator) -> Tensor:
    """Marks a share of the rows (B, R), evenly: each image has its share to within one."""
    u = torch.rand((batch, 1), generator=generator, device=generator.device)
    # Row j is marked if an integer lies in (u + j share, u + (j + 1) share].
    edges = torch.arange(reuse + 1, device=generator.device) * share + u
    return edges.floor().diff(dim=1) > 0


def time_grid(steps: int) -> Tensor:
    """The times a chain of n steps visits, and where it ends: 1, (n-1)/n, ..., 1/n, 0; (n + 1,)."""
    # fp64, so that 1/n and its multiples are exact to fp32 whatever n is.
    return torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
