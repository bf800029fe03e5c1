"""Samplers that settle one token after the other: surest first, at random, from left to right."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from addkit.plugin.protocols import Chain
from addkit.plugin.values import FREE, ChainStep, Clean, NoisyLabels
from addkit.samplers.autoregressive import write
from addkit.samplers.renoise import Renoise

Others = Literal["noise", "annealed"]


class Ordered(Renoise):
    """Settles a share of the tokens in each step, the first ones of an order.

    Args:
        others: `annealed` tokens follow the time grid until they settle; else they wait at t = T,
            which is masked diffusion written with Gaussian noise.
    """

    def __init__(self, others: Others = "noise") -> None:
        self.others = others

    @abstractmethod
    def rank(self, logits: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Rank of each token, the larger the sooner: (B, R, N, K), (B, R, N) -> (B, R, N)."""

    def steps(self, asked: int, num_tokens: int) -> int:
        """At most one step for each token: more would settle none."""
        return min(asked, num_tokens)

    def step(
        self, chain: Chain, now: NoisyLabels, logits: Tensor, clean: Clean, s: Tensor, done: float
    ) -> NoisyLabels:
        """Settle the next share of tokens, the ones that rank first."""
        settled, given = now.settled, chain.settings.given_labels
        if settled is None:
            settled = torch.zeros(chain.shape, dtype=torch.bool, device=s.device)
        count: Tensor | int = 0
        if given is not None:
            count = (given != FREE).expand(chain.shape).sum(-1, keepdim=True)  # (B, R, 1)
        rank = self.rank(logits, clean.ids, chain.generator)  # (B, R, N)
        # Two argsorts turn ranks into places 0, ..., N - 1 (the second inverts the permutation of
        # the first); settled tokens come first.
        place = torch.where(settled, torch.inf, rank).argsort(-1, descending=True).argsort(-1)
        free = torch.as_tensor(rank.shape[-1] - count, device=rank.device)
        # 1e-6 less, so that done = k/n in floating point does not settle one token too many.
        settled = place < count + torch.ceil(done * free - 1e-6)
        # (B, R, N): from here on each token has a time of its own.
        t = torch.where(settled, 0.0, s if self.others == "annealed" else torch.ones_like(s))
        # Exactly 1 where clean and 0 where pure noise, whatever the schedule leaves there.
        alpha_bar = settled.to(t.dtype)
        if self.others == "annealed":
            alpha_bar = torch.where(settled, alpha_bar, chain.model.schedule.alpha_bar(t))
        return NoisyLabels(chain.noise(Clean(clean.ids), alpha_bar), t, settled, clean.ids)


class Maskgit(Ordered):
    """Settle the surest tokens first (Chang et al. 2022), or tokens in random order.

    Args:
        order: which tokens settle first.
        others: see `Ordered`.
    """

    def __init__(
        self, order: Literal["confidence", "random"] = "confidence", others: Others = "noise"
    ) -> None:
        super().__init__(others)
        self.order = order

    def rank(self, logits: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """log p of the label that each token has now, or a random number."""
        if self.order == "random":
            return torch.rand(labels.shape, generator=generator, device=labels.device)
        # Not log_softmax, which would write a second K-wide tensor to read N numbers of it.
        picked = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)  # (B, R, N)
        return picked - logits.logsumexp(-1)


class LeftToRight(Ordered):
    """Settle tokens from left to right.

    A network that predicts each token from the clean ones before it reads no noisy token, so that
    it predicts one token after the other, with their keys and values stored.

    Args:
        others: see `Ordered`.
        pad: the class after which a caption has ended; None where there is none.
    """

    def __init__(self, others: Others = "noise", pad: int | None = None) -> None:
        super().__init__(others)
        self.pad = pad

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """Every step of the loop; of a network that reads clean tokens alone, the last step."""
        return write(self, chain, self.pad) if chain.block == 0 else super().sample(chain)

    def rank(self, logits: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Minus the position."""
        return -torch.arange(labels.shape[-1], device=labels.device).float().expand(labels.shape)
