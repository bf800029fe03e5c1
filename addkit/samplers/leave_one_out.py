"""Soft evidence read as noisy labels: the answer of a Gaussian network, a label's own left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from addkit import sampling
from addkit.diffusion.noise import unit_alpha_bar
from addkit.diffusion.objective import LARGEST
from addkit.errors import UsageError
from addkit.plugin.protocols import Chain
from addkit.plugin.values import FREE, ChainStep, Clean, State
from addkit.sampling.loop import forced


class LeaveOneOut:
    r"""Reads evidence as the state of the other labels, and adds a label's own to its logits.

    A noisy label matters through its log-likelihood c_t y_t alone, so evidence L *is* a noisy
    label with c_t y_t = L. All labels are predicted in one batch of N copies of a row; the surest
    are put in clean, and the rest is predicted again:

    .. math::
        p(y_n = k \mid x, L) \propto \exp(L_n[k])\; p_\theta(y_n = k \mid x, u),
        \qquad u_m = L_m\ (m \ne n),\ u_n = 0

    With the exact denoiser this is the exact posterior. The network's own reading of L_n would be
    inexact, and is not needed. In each of
    `ChainSettings.steps`, at most N, a share is settled: N steps read N (N + 1) / 2 copies of N
    tokens in all. The marginals are those of the first step.
    """

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """The last step, with one answer for each image. Raises `UsageError` if the network does
        not read the noisy labels of all tokens at once.
        """
        chain = cast("sampling.Chain", chain)
        if chain.block is not None:
            raise UsageError("leave-one-out needs a network that reads noisy labels of all tokens")
        settings, model, device = chain.settings, chain.model, chain.generator.device
        batch, _, num_tokens = chain.shape
        shape = (batch, num_tokens, model.num_classes)
        zero, one = (torch.full((1, 1, 1), level, device=device) for level in (0.0, 1.0))
        zeros = torch.zeros(1, 1, 1, 1, device=device)
        # (B, N, K): what is added to a label's own logits, and what the other labels read of it.
        observed = (zeros if settings.evidence is None else settings.evidence).expand(
            batch, 1, *shape[1:]
        )[:, 0]
        bias = zeros if settings.bias is None else settings.bias
        own = observed + bias.expand(batch, 1, *shape[1:])[:, 0]
        if model.forbidden is not None:
            # Classes of other tokens get as little as the least probable one: a constant that is
            # added to L_n changes no posterior, but would change what the network reads.
            outside = model.forbidden < 0  # (N, K)
            least = observed.masked_fill(outside, torch.inf).amin(-1, keepdim=True)
            observed = torch.where(outside, least, observed)
        level = torch.full((1, 1, 1), unit_alpha_bar(model.schedule.scale), device=device)
        hinted = model.read(observed.unsqueeze(1), level).h  # (B, 1, N, D)
        nothing = model.read(zeros.expand(1, 1, 1, shape[-1]), zero).h  # (1, 1, 1, D)

        free = torch.full((1, 1, 1), FREE, device=device)
        given = free if settings.given_labels is None else settings.given_labels
        given = given.expand(chain.shape)[:, 0]  # (B, N)
        labels, settled = given.clamp_min(0), given != FREE
        count = num_tokens if settings.given_labels is None else int((~settled).sum(1).max())
        steps = max(1, min(settings.steps, count))
        logits = forced(torch.zeros(shape, device=device).unsqueeze(1), given.unsqueeze(1))[:, 0]
        marginals, log_p, done = logits, torch.zeros(batch, device=device), 0
        for index in range(steps):
            # The labels that are still open, in the order of their places: (B, n).
            places = settled.long().argsort(dim=1, stable=True)[:, : count - done]
            hot = one_hot(labels, shape[-1]).float() * model.schedule.scale
            clean = model.read(hot.unsqueeze(1), one).h
            h = torch.where(settled[:, None, :, None], clean, hinted)  # (B, 1, N, D)
            index_k = places.unsqueeze(-1).expand(-1, -1, shape[-1])
            predicted = self._left_out(chain, h, nothing, settled, places) + own.gather(1, index_k)
            logits = logits.scatter(1, index_k, predicted)
            if index == 0:
                marginals = logits
            best = predicted.log_softmax(-1).max(-1)  # (B, n) each
            # An image with fewer open labels than another has settled ones among its places.
            sure = best.values.masked_fill(settled.gather(1, places), -torch.inf)
            wanted = math.ceil((index + 1) / steps * count - 1e-6)
            top = sure.topk(wanted - done, 1)
            done = wanted
            chosen = places.gather(1, top.indices)
            new = torch.zeros_like(settled).scatter(1, chosen, top.values.isfinite())
            answers = labels.scatter(1, chosen, best.indices.gather(1, top.indices))
            labels, settled = torch.where(new, answers, labels), settled | new
            log_p = log_p + top.values.masked_fill(top.values.isneginf(), 0.0).sum(-1)
        yield ChainStep(
            steps - 1,
            1 / steps,
            logits.unsqueeze(1),
            Clean(labels.unsqueeze(1)),
            torch.zeros(batch, dtype=torch.bool, device=device),
            prior=None if settings.prior is None else settings.prior[:, :1],
            scores=log_p.unsqueeze(1),
            marginals=marginals.softmax(-1),
        )

    def _left_out(
        self, chain: sampling.Chain, h: Tensor, nothing: Tensor, settled: Tensor, places: Tensor
    ) -> Tensor:
        """Logits of the labels at these places, (B, n, K), each from a copy of h that hides it."""
        num_tokens, num_classes = chain.shape[2], chain.model.num_classes
        layout = chain.layout
        if layout is not None and layout.visible is not None:
            layout = type(layout)(layout.visible[:, :1])
        t = torch.where(settled, 0.0, 1.0).unsqueeze(1)  # (B, 1, N)
        # Of y_t only the label's own entry is used, and that is 0: its copy hides it.
        y_t = torch.zeros(1, 1, 1, num_classes, device=h.device)
        order = torch.arange(num_tokens, device=h.device)
        most = max(1, LARGEST // (len(h) * num_tokens * num_classes))
        parts = []
        for some in torch.split(places, most, 1):
            hidden = (some.unsqueeze(-1) == order).unsqueeze(-1)  # (B, copies, N, 1)
            copies = torch.where(hidden, nothing, h)  # (B, copies, N, D)
            state = State(copies, y_t.expand(*copies.shape[:-1], -1))
            logits = chain.guided(state, t, layout).logits  # (B, copies, N, K)
            picked = some[..., None, None].expand(-1, -1, 1, num_classes)
            parts.append(logits.gather(2, picked).squeeze(2))
        return torch.cat(parts, 1)
