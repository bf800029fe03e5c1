"""Beam search over labels in the order of their first certainty, for networks of any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch

from addkit import sampling
from addkit.diffusion.likelihood import clean_or_hidden
from addkit.errors import UsageError
from addkit.plugin.protocols import Chain
from addkit.plugin.values import FREE, ChainStep, NoisyLabels
from addkit.samplers.search import marginals_of, ranked


class SurestBeam:
    """Keeps the most probable partial answers while labels are settled, the surest first.

    The order is fixed by the first pass: rising entropy of p(y_n | x) under the label's own bias
    and soft evidence. N passes of `width` rows.

    Args:
        width: number of partial answers.
    """

    def __init__(self, width: int = 8) -> None:
        self.width = width

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """One step: the most probable answers of each image, the best first. Raises `UsageError`
        if the network does not read all tokens at once.
        """
        chain = cast("sampling.Chain", chain)
        if chain.block is not None:
            raise UsageError("surest-beam needs a network that reads all tokens at once")
        settings, device = chain.settings, chain.generator.device
        batch, _, num_tokens = chain.shape
        given = settings.given_labels
        if given is None:
            given = torch.full((1, 1, 1), FREE, device=device)
        given = given.expand(chain.shape)[:, :1]  # (B, 1, N)
        settled, labels = given != FREE, given.clamp_min(0)
        visible = None
        if chain.layout is not None and chain.layout.visible is not None:
            visible = replace(chain.layout, visible=chain.layout.visible[:, :1])
        evidence = settings.evidence
        if evidence is None:
            evidence = torch.zeros(1, 1, 1, 1, device=device)
        evidence = evidence.expand(batch, 1, num_tokens, chain.model.num_classes)
        # Evidence is added here, since log p + L ranks answers and its softmax would not.
        settings = replace(settings, given_labels=given, evidence=None)
        scores, rows = torch.zeros(batch, 1, device=device), 1
        kept = torch.zeros(batch, 1, num_tokens, chain.model.num_classes, device=device)
        order = torch.zeros(batch, num_tokens, dtype=torch.long, device=device)
        for index in range(num_tokens):
            state = clean_or_hidden(chain.model, labels, ~settled)  # (B, S, N, D)
            t = torch.where(settled, 0.0, 1.0)
            shape = (batch, rows, num_tokens)
            own = replace(chain, shape=shape, layout=visible, settings=settings)
            log_p = own.predict(NoisyLabels(state, t)).log_softmax(-1)
            log_p = log_p + evidence  # (B, S, N, K)
            if index == 0:
                # Stable, so that equals stay in their order on every device. Given labels come
                # first: their entropy is 0.
                first = log_p[:, 0].log_softmax(-1)
                order = -(first.exp() * first).sum(-1)  # (B, N)
                order = order.argsort(dim=-1, stable=True)
            place = order[:, index].view(batch, 1, 1, 1)
            picked = place.expand(-1, rows, 1, log_p.shape[-1])
            log_p = log_p.gather(2, picked).squeeze(2)  # (B, S, K)
            total = (scores.unsqueeze(-1) + log_p).flatten(1)
            scores, chosen = total.topk(min(self.width, total.shape[1]))
            parent, label = chosen // log_p.shape[-1], chosen % log_p.shape[-1]  # (B, S)
            rows = chosen.shape[1]
            at = place[..., 0].expand(-1, rows, 1)
            labels = labels.gather(1, parent.unsqueeze(-1).expand(-1, -1, num_tokens))
            labels = labels.scatter(2, at, label.unsqueeze(-1))
            wide = parent.unsqueeze(-1).expand(-1, -1, log_p.shape[-1])
            kept = kept.gather(1, wide.unsqueeze(2).expand(-1, -1, num_tokens, -1))
            picked = place.expand(-1, rows, 1, log_p.shape[-1])
            kept = kept.scatter(2, picked, log_p.gather(1, wide).unsqueeze(2))
            settled = settled.scatter(2, at[:, :1], True)
        yield ranked(labels, kept, scores, marginals_of(labels, kept, scores))
