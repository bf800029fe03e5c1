"""Beam search for autoregression."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from addkit.diffusion.branches import Branches
from addkit.diffusion.chain import ChainSettings
from addkit.diffusion.model import FORBIDDEN
from addkit.diffusion.results import ChainStep, Clean
from addkit.samplers.ordered import Beam


def beam_search(
    branches: Branches, beam: Beam, settings: ChainSettings, pad: int | None, batch: int
) -> ChainStep:
    """The `width` most probable captions of each image, as that many chains, the best first.

    A beginning that has ended keeps its score. Ranked by log p / length ** length_power.
    """
    from addkit.processes.autoregressive import constrained, next_features

    settings = _of_one_chain(settings)
    model, width = branches.model, beam.width
    device, num_tokens = branches.flat[0].device, model.num_tokens
    labels = torch.full((batch, width, num_tokens), pad or 0, device=device)
    known = tuple(p.repeat_interleave(width, 0) for p in branches.flat)
    # All beginnings are one at first: only the first may branch.
    scores = torch.full((batch, width), -torch.inf, device=device)
    scores[:, 0] = 0.0
    kept = torch.zeros(batch, width, num_tokens, model.num_classes, device=device)
    for index in range(num_tokens):
        features, known = next_features(branches, known, labels, index)
        outputs = branches.guided(model.outputs(features)).view(batch, width, 1, -1)
        logits = constrained(outputs, model, settings, index)
        log_p = _after_the_end(logits.log_softmax(-1)[:, :, 0], labels, index, pad)
        scores, chosen = (scores.unsqueeze(-1) + log_p).flatten(1).topk(width)
        parent, label = chosen // model.num_classes, chosen % model.num_classes
        rows = (parent + torch.arange(batch, device=device).unsqueeze(1) * width).flatten()
        labels, kept = (x.flatten(0, 1)[rows].view_as(x) for x in (labels, kept))
        labels[:, :, index] = label
        kept[:, :, index] = log_p.flatten(0, 1)[rows].view(batch, width, -1)
        known = _reordered(known, rows, branches.guidance != 1)
    # Fewer answers may be possible than the beam is wide: the best one fills it up.
    scores = scores.masked_fill(scores < FORBIDDEN / 2, -torch.inf)
    best, order = _ranked(scores, labels, pad, beam.length_power).sort(-1, descending=True)
    best, order = (torch.where(best.isneginf(), x[:, :1], x) for x in (best, order))
    labels = labels.gather(1, order.unsqueeze(-1).expand_as(labels))
    kept = kept.gather(1, order[..., None, None].expand_as(kept))
    exited = torch.zeros(batch, dtype=torch.bool, device=device)
    prior = None if settings.prior is None else settings.prior.expand(batch, width)
    last, t = num_tokens - 1, 1 / num_tokens
    return ChainStep(last, t, kept, Clean(labels), exited, prior=prior, scores=best)


def _of_one_chain(settings: ChainSettings) -> ChainSettings:
    """What the first chain would be given, its length too: a beam keeps to one."""
    held, prior, bias = settings.held, settings.prior, settings.bias
    return replace(
        settings,
        held=None if held is None else held[:, :1],
        prior=None if prior is None else prior[:, :1],
        bias=bias[:, :1] if bias is not None and bias.ndim == 4 else bias,
    )


def _after_the_end(log_p: Tensor, labels: Tensor, index: int, pad: int | None) -> Tensor:
    """log p (B, W, K); sure of the pad where a beginning has ended."""
    if pad is None or index == 0:
        return log_p
    ended = (labels[..., :index] == pad).any(-1, keepdim=True)
    sure = torch.full_like(log_p, -torch.inf)
    sure[..., pad] = 0.0
    return torch.where(ended, sure, log_p)


def _reordered(known: tuple[Tensor, ...], rows: Tensor, both: bool) -> tuple[Tensor, ...]:
    """Keys and values of the beginnings that were kept, in both branches."""
    if both:
        rows = torch.cat([rows, rows + len(rows)])
    return tuple(x[rows] for x in known)


def _ranked(scores: Tensor, labels: Tensor, pad: int | None, power: float) -> Tensor:
    if pad is None:
        return scores
    lengths = (labels != pad).sum(-1).clamp_min(1)
    return scores / lengths**power
