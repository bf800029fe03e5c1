"""The exact likelihood that noise levels by token make computable."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.diffusion.model import LabelDiffusion
from addkit.diffusion.results import Clean

__all__ = ["any_order_likelihood", "token_log_probabilities"]


def any_order_likelihood(
    model: LabelDiffusion, prepared: tuple[Tensor, ...], labels: Tensor
) -> Tensor:
    r"""log p(y | c) = \sum_n log p(y_n | y_1, ..., y_{n-1}, c), (B, S, N) -> (B, S).

    Each factor is the network's answer with the tokens before n clean (t = 0) and the others pure
    noise (t = T): N passes, in one batch. It means something for a network that was trained on
    such rows (`training.token_times`, or the masked process).
    """
    batch, count, num_tokens = labels.shape
    # (S N) copies: copy n of a candidate knows its tokens before n.
    ids = labels.repeat_interleave(num_tokens, dim=1)
    order = torch.arange(num_tokens, device=labels.device)
    t = (order >= order.unsqueeze(1)).float().repeat(count, 1).unsqueeze(0)
    # No noise is drawn: clean tokens have none, and pure noise says nothing whatever it is.
    alpha_bar = 1 - t
    generator = torch.Generator(device=labels.device).manual_seed(0)
    state = model.corrupt(Clean(ids), alpha_bar, generator)
    features = model.features(state, t, prepared)
    picked = features.view(batch, count, num_tokens, num_tokens, -1)
    own = picked.diagonal(dim1=2, dim2=3).movedim(-1, 2)
    return token_log_probabilities(model, own, labels).sum(-1)


def token_log_probabilities(model: LabelDiffusion, features: Tensor, labels: Tensor) -> Tensor:
    """log p of each label from its features, (B, S, N, D), (B, S, N) -> (B, S, N)."""
    alpha_bar = torch.zeros(1, 1, 1, device=labels.device)
    logits = model.logits(model.outputs(features), None, alpha_bar)
    picked: Tensor = logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return picked
