"""Sampling from networks that predict each token from those before it: token by token, or a beam.

Keys and values of the condition and of the tokens so far are stored, so that each step is one pass
over one token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from addkit.diffusion.likelihood import clean_or_hidden
from addkit.errors import UsageError
from addkit.plugin.protocols import Chain, JointDenoiser, StepSampler
from addkit.plugin.values import FREE, ChainSettings, ChainStep, Clean, Layout
from addkit.samplers.search import marginals_of, ranked
from addkit.sampling.loop import forced


@dataclass(slots=True)
class KeyValues:
    """A chain's keys and values of the condition and of the tokens so far, (branches B W, ...)."""

    chain: Chain
    settings: ChainSettings
    prepared: tuple[Tensor, ...]

    @classmethod
    def of(cls, chain: Chain, settings: ChainSettings, width: int) -> KeyValues:
        """No token so far, in each of W rows of an image."""
        return cls(chain, settings, tuple(p.repeat_interleave(width, 0) for p in chain.prepared))

    def next_logits(self, labels: Tensor, index: int) -> Tensor:
        """Logits (B, W, 1, K) of token `index` of labels (B, W, N), which reads the one before it.

        Under what is forbidden, biased, observed as soft evidence and given.
        """
        chain, model, device = self.chain, self.chain.model, labels.device
        batch, width = labels.shape[:2]
        # The first token reads no label.
        seen = (
            labels.flatten(0, 1)[:, index - 1, None, None] if index else labels.new_zeros(1, 1, 1)
        )
        state = clean_or_hidden(model, seen, torch.full((1, 1, 1), index == 0, device=device))
        h = state.h.expand(batch * width, -1, -1, -1).repeat(chain.branches, 1, 1, 1)
        # h: (branches B W, 1, 1, D); its place is its own, since the token before it is read here.
        layout = Layout(places=torch.tensor([index], device=device))
        zero = torch.zeros(1, 1, 1, device=device)
        denoiser = cast("JointDenoiser", model.denoiser)
        features, self.prepared = denoiser.extend(h, zero, self.prepared, layout)
        logits = chain.guide(model.outputs(features)).view(batch, width, 1, -1)  # (B, W, 1, K)
        if model.forbidden is not None:
            logits = logits + model.forbidden[index]
        for added in (self.settings.bias, self.settings.evidence):
            if added is not None:
                own = added if added.shape[-2] == 1 else added[..., index : index + 1, :]
                logits = logits + own
        given = self.settings.given_labels
        if given is None or not bool((given[..., index] != FREE).any()):
            return logits
        return forced(logits, given[..., index : index + 1].expand(*logits.shape[:-1]))

    def reorder(self, rows: Tensor) -> None:
        """Go on from these rows (B W,), in both branches."""
        if self.chain.branches == 2:
            # Unconditional rows lie behind all conditional ones.
            rows = torch.cat([rows, rows + rows.shape[0]])
        self.prepared = tuple(p[rows] for p in self.prepared)


def write(sampler: StepSampler, chain: Chain, pad: int | None) -> Iterator[ChainStep]:
    """N passes of one token, the sampler's `clean` of each. The last one is yielded, and where y_t
    is to be kept, each.
    """
    batch, chains, num_tokens = chain.shape
    device, settings = chain.generator.device, chain.settings
    labels = torch.full(chain.shape, pad or 0, device=device)
    # What is not written yet is sure of the pad, or of class 0.
    logits = torch.zeros(1, 1, 1, chain.model.num_classes, device=device)
    logits = forced(logits.expand(*chain.shape, -1), labels)  # (B, R, N, K)
    exited = torch.zeros(batch, dtype=torch.bool, device=device)
    memory = KeyValues.of(chain, settings, chains)
    for index in range(num_tokens):
        ended = _ended(labels, index, pad)
        # A pass is spared once every chain has ended; an exported graph has all of them.
        if torch.compiler.is_exporting() or not bool(ended.all()):
            token = memory.next_logits(labels, index)
            token = torch.where(ended[..., None], logits[:, :, index : index + 1], token)
            logits[:, :, index] = token[:, :, 0]
            labels[:, :, index] = sampler.clean(chain, token).ids[:, :, 0]  # (B, R)
        if settings.keep_y_t or index + 1 == num_tokens:
            t, clean = 1 - index / num_tokens, Clean(labels.clone())
            # Copies: the next token is written into the same tensors.
            yield ChainStep(index, t, logits.clone(), clean, exited, prior=settings.prior)


def _ended(labels: Tensor, index: int, pad: int | None) -> Tensor:
    """(B, W, 1): rows that have a pad before token `index`."""
    # None before the first token; an exported graph would take the maximum of nothing for true.
    if pad is None or index == 0:
        return torch.zeros_like(labels[..., :1], dtype=torch.bool)
    return (labels[..., :index] == pad).any(-1, keepdim=True)


class Beam:
    """Left to right, keeping the `width` most probable beginnings.

    Args:
        width: number of beginnings.
        length_power: ranks by log p / length ** length_power; 0 is log p itself.
        pad: the class after which a caption has ended; None where there is none.
    """

    def __init__(self, width: int = 5, length_power: float = 0.0, pad: int | None = None) -> None:
        self.width, self.length_power, self.pad = width, length_power, pad

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """One step: the most probable captions of each image, as `width` chains, the best first.

        A beginning that has ended keeps its score. Under soft evidence L beginnings are ranked by
        log p + L, and the marginals are the beam's. Raises `UsageError` if the network reads noisy
        labels.
        """
        if chain.block != 0:
            raise UsageError("a beam needs a network that reads the clean tokens before each one")
        settings = chain.settings
        given, prior, bias = settings.given_labels, settings.prior, settings.bias
        # A beam keeps to one length: that of the first chain.
        settings = replace(
            settings,
            given_labels=None if given is None else given[:, :1],
            prior=None if prior is None else prior[:, :1],
            bias=bias[:, :1] if bias is not None and bias.ndim == 4 else bias,
        )
        batch, width, num_tokens = chain.shape[0], self.width, chain.shape[2]
        num_classes, device = chain.model.num_classes, chain.generator.device
        labels = torch.full((batch, width, num_tokens), self.pad or 0, device=device)
        logits = torch.zeros(batch, width, num_tokens, num_classes, device=device)
        # All beginnings are equal at first: only the first may branch.
        scores = torch.full((batch, width), -torch.inf, device=device)
        scores[:, 0] = 0.0
        # Evidence is added here, since log p + L ranks beginnings and its softmax would not.
        memory = KeyValues.of(chain, replace(settings, evidence=None), width)
        evidence = settings.evidence  # (B, 1, N, K)
        for index in range(num_tokens):
            log_p = memory.next_logits(labels, index).log_softmax(-1)[:, :, 0]  # (B, W, K)
            if evidence is not None:
                log_p = log_p + evidence[:, :, index]
            if self.pad is not None and index:
                certain = torch.full_like(log_p, -torch.inf)
                certain[..., self.pad] = 0.0
                # An ended beginning has one successor, the pad, so that its score stays.
                log_p = torch.where(_ended(labels, index, self.pad), certain, log_p)
            # The W best of all W K successors of an image: (B, W) each.
            scores, chosen = (scores.unsqueeze(-1) + log_p).flatten(1).topk(width)
            parent, label = chosen // num_classes, chosen % num_classes
            rows = (parent + torch.arange(batch, device=device).unsqueeze(1) * width).flatten()
            labels, logits = (x.flatten(0, 1)[rows].view_as(x) for x in (labels, logits))
            labels[:, :, index] = label
            logits[:, :, index] = log_p.flatten(0, 1)[rows].view(batch, width, -1)
            # Keys and values move with their beginnings.
            memory.reorder(rows)
        marginals = None if evidence is None else marginals_of(labels, logits, scores)
        if self.pad is not None:
            # At the end alone: while beams grow, all have the same number of tokens or are over.
            scores = scores / (labels != self.pad).sum(-1).clamp_min(1) ** self.length_power
        yield ranked(labels, logits, scores, marginals, settings.prior)
