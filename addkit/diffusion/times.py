"""Which timesteps a training step looks at, and which ones a chain visits."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw_times", "time_grid"]


def draw_times(
    batch: int,
    reuse: int,
    num_tokens: int,
    generator: torch.Generator,
    *,
    stratified: bool = True,
    pure_noise: float = 0.0,
    power: float = 1.0,
) -> Tensor:
    """Training times (B, R, N), the same for all tokens of a row.

    t ~ U[0, 1] (section 3.2), in strata inside an image, t_j = ((u + j / R) mod 1) ** power, so
    that the R copies are distinct (section 3.3). A share `pure_noise` of rows sits at t = 1.
    """
    device = generator.device
    shape = (batch, 1 if stratified else reuse)
    u = torch.rand(shape, generator=generator, device=device)
    if stratified:
        u = (u + torch.arange(reuse, device=device) / reuse) % 1.0
    at_noise = _even_rows(batch, reuse, pure_noise, generator)
    t = torch.where(at_noise, torch.ones_like(u), u**power)
    return t.unsqueeze(-1).expand(batch, reuse, num_tokens)


def _even_rows(batch: int, reuse: int, share: float, generator: torch.Generator) -> Tensor:
    """Marks a share of the rows, evenly: each image has its share of marks to within one."""
    u = torch.rand((batch, 1), generator=generator, device=generator.device)
    edges = torch.arange(reuse + 1, device=generator.device) * share + u
    return edges.floor().diff(dim=1) > 0


def time_grid(steps: int) -> Tensor:
    """The times a chain of n steps visits, and where it ends: 1, (n-1)/n, ..., 1/n, 0; (n + 1,)."""
    return torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
