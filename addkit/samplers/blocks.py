"""Blocks from left to right: another sampler over each block, with clean blocks before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from addkit.diffusion.model import LabelDiffusion
from addkit.plugin.protocols import JointDenoiser, Sampler, ToOne
from addkit.plugin.values import ChainSettings, ChainStep, Clean, Layout
from addkit.sampling.guided import GuidedModel
from addkit.sampling.loop import Chain


def sample(
    model: LabelDiffusion,
    condition: Tensor,
    sampler: Sampler,
    to_one: ToOne,
    settings: ChainSettings,
    generator: torch.Generator,
) -> Iterator[ChainStep]:
    """Run R chains for each image, over all tokens or block by block as the network was trained.

    Args:
        model: the network.
        condition: (B, C, V), on the device of `generator`.
        sampler: decides what the network reads at each step.
        to_one: from logits to the clean label that is fed back.
        settings: see `ChainSettings`.
        generator: of all noise.
    """
    chain = Chain.of(model, condition, to_one, settings, generator)
    return Blocks(sampler, chain.block).sample(chain) if chain.block else sampler.sample(chain)


class Blocks:
    """Denoises a block with another sampler, then keeps the block's keys and values.

    Args:
        inner: any sampler that steps through noisy labels.
        block: tokens of a block.
    """

    def __init__(self, inner: Sampler, block: int) -> None:
        self.inner, self.block = inner, block

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """`settings.steps` steps for each block. The last block's end is yielded, and where y_t is
        to be kept, each block's.
        """
        batch, chains, num_tokens = chain.shape
        # Each chain is a row of its own, since its clean tokens differ: (B R, ...).
        prepared = tuple(p.repeat_interleave(chains, 0) for p in chain.prepared)
        guided = replace(chain.guided, prepared=prepared, batch=batch * chains)
        # Order matters for the random draws: a block's chain ends before the next one starts.
        ends: list[ChainStep] = []
        for start in range(0, num_tokens, self.block):
            stop = min(start + self.block, num_tokens)
            places = torch.arange(start, stop, device=chain.generator.device)
            *_, end = self.inner.sample(_block_chain(chain, guided, places))
            ends.append(end)
            if chain.settings.keep_y_t or stop == num_tokens:
                yield _joined(ends, chain)
            if stop < num_tokens:
                guided = _extended(guided, end.clean.ids, places)


def _block_chain(chain: Chain, guided: GuidedModel, places: Tensor) -> Chain:
    """The chain of the tokens at these places, (B R, 1, n)."""
    batch, chains, _ = chain.shape
    settings, rows = chain.settings, guided.batch  # rows = B R
    given, visible = settings.given_labels, None
    if given is not None:
        given = given.expand(batch, chains, -1)[..., places].reshape(rows, 1, len(places))

    def of_block(added: Tensor | None) -> Tensor | None:
        """What is added to logits, (..., n, K)."""
        if added is not None and added.shape[-2] > 1:
            added = added[..., places, :]
        if added is not None and added.ndim == 4:
            added = added.expand(batch, chains, -1, -1).flatten(0, 1).unsqueeze(1)
        return added

    if settings.lengths is not None:
        # Tokens beyond a chain's length are not seen: (B R, 1, 1, n).
        visible = places < settings.lengths.expand(batch, chains).reshape(-1, 1, 1, 1)
    return replace(
        chain,
        guided=guided,
        # No early exit: it counts images, and rows are single chains here.
        settings=replace(
            settings,
            chains=1,
            given_labels=given,
            bias=of_block(settings.bias),
            evidence=of_block(settings.evidence),
            early_exit=0,
        ),
        shape=(rows, 1, len(places)),
        layout=Layout(visible, places),
        block=None,
    )


def _extended(guided: GuidedModel, ids: Tensor, places: Tensor) -> GuidedModel:
    """The condition with a block's clean tokens behind it, each of which sees those before it."""
    device = ids.device
    one = torch.ones(1, 1, 1, device=device)
    # A generator of its own: clean labels have no noise, whatever is drawn.
    h = guided.model.corrupt(Clean(ids), one, torch.Generator(device=device)).h  # (B R, 1, n, D)
    if guided.guidance != 1:
        h = h.repeat(2, 1, 1, 1)
    visible = torch.ones(1, 1, len(places), len(places), dtype=torch.bool, device=device).tril()
    denoiser = cast("JointDenoiser", guided.model.denoiser)
    # Only the keys and values are used; a clean token has nothing to predict.
    _, prepared = denoiser.extend(h, one - 1, guided.prepared, Layout(visible, places))
    return replace(guided, prepared=prepared)


def _joined(ends: list[ChainStep], chain: Chain) -> ChainStep:
    """The blocks so far as one step; what is not written yet is all class 0."""
    batch, chains, num_tokens = chain.shape
    logits = torch.cat([end.logits for end in ends], 2)
    ids = torch.cat([end.clean.ids for end in ends], 2)
    missing = num_tokens - ids.shape[-1]
    # (B R, 1, n, ...) -> (B, R, N, ...).
    logits = functional.pad(logits, (0, 0, 0, missing)).reshape(batch, chains, num_tokens, -1)
    ids = functional.pad(ids, (0, missing)).reshape(batch, chains, num_tokens)
    exited = torch.zeros(batch, dtype=torch.bool, device=ids.device)
    index = sum(end.index + 1 for end in ends) - 1
    t, prior = missing / num_tokens, chain.settings.prior
    return ChainStep(index, t, logits, Clean(ids), exited, prior=prior)
