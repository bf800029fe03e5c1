"""Which timesteps a training step looks at, and which ones a chain visits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSettings:
    """Which times are drawn; see `addkit.recipe.Training` for each."""

    stratified: bool = True
    pure_noise: float = 0.0
    power: float = 1.0
    warp: Callable[[Tensor], Tensor] | None = None
    """u -> t, in place of u ** power."""
    token_times: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Shares of rows whose tokens share one t, have each their own, or are clean or at T."""

    def at(self, u: Tensor) -> Tensor:
        """The time that u stands for, same shape, rising from 0 to 1."""
        return u**self.power if self.warp is None else self.warp(u)


class TimedLosses(NamedTuple):
    """What tokens cost at their times; (tokens,) each, no gradient."""

    t: Tensor
    losses: Tensor
    weights: Tensor
    """How much each counts in the loss."""

    @property
    def drawn(self) -> Tensor:
        """The weights, 0 at t = 0 and t = T: such tokens were put there, and not by the map."""
        return self.weights * ((self.t > 0) & (self.t < 1))


def draw_times(
    shape: tuple[int, int, int], generator: torch.Generator, settings: TimeSettings
) -> Tensor:
    """Training times (B, R, N).

    t ~ U[0, 1] (section 3.2), in strata inside an image, t_j = ((u + j / R) mod 1) ** power, so
    that the R copies are distinct (section 3.3); `warp` may stand in for the power. A share
    `pure_noise` of rows sits at t = 1. Of the others, the tokens of a row share one t, or each
    has its own, or each is clean (t = 0) with chance 1 - u and else at t = 1.
    """
    batch, reuse, num_tokens = shape
    u = _uniforms(batch, reuse, generator, stratified=settings.stratified)
    t = settings.at(u).unsqueeze(-1).expand(shape)
    if num_tokens > 1 and settings.token_times[0] < sum(settings.token_times):
        t = _by_token(u, t, generator, settings)
    at_noise = even_rows(batch, reuse, settings.pure_noise, generator)
    return torch.where(at_noise.unsqueeze(-1), torch.ones_like(t), t)


def _uniforms(batch: int, reuse: int, generator: torch.Generator, *, stratified: bool) -> Tensor:
    shape = (batch, 1 if stratified else reuse)
    u = torch.rand(shape, generator=generator, device=generator.device)
    if not stratified:
        return u
    return (u + torch.arange(reuse, device=generator.device) / reuse) % 1.0


def _by_token(
    u: Tensor, shared: Tensor, generator: torch.Generator, settings: TimeSettings
) -> Tensor:
    """Which row is of which kind is drawn for each row by itself."""
    device, total = generator.device, sum(settings.token_times)
    kind = torch.rand((*u.shape, 1), generator=generator, device=device) * total
    each = torch.rand(shared.shape, generator=generator, device=device)
    clean_or_noise = (each < u.unsqueeze(-1)).float()
    first, second, _ = settings.token_times
    apart = torch.where(kind < first + second, settings.at(each), clean_or_noise)
    return torch.where(kind < first, shared, apart)


def even_rows(batch: int, reuse: int, share: float, generator: torch.Generator) -> Tensor:
    """Marks a share of the rows (B, R), evenly: each image has its share to within one."""
    u = torch.rand((batch, 1), generator=generator, device=generator.device)
    edges = torch.arange(reuse + 1, device=generator.device) * share + u
    return edges.floor().diff(dim=1) > 0


def time_grid(steps: int) -> Tensor:
    """The times a chain of n steps visits, and where it ends: 1, (n-1)/n, ..., 1/n, 0; (n + 1,)."""
    return torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
