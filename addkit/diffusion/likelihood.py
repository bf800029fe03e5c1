"""The exact likelihood that noise levels by token make computable."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.plugin.protocols import LabelModel
from addkit.plugin.values import Clean, Layout, State


def any_order_likelihood(
    model: LabelModel,
    prepared: tuple[Tensor, ...],
    labels: Tensor,
    present: Tensor | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    r"""log p(y | c) = \sum_n log p(y_n | y_1, ..., y_{n-1}, c), (B, S, N) -> (B, S).

    Each factor is the network's answer with the tokens before n clean (t = 0) and the others
    hidden (t = T, y_T = 0): N passes, in one batch. It means something for a network that was
    trained on such rows (`training.token_times`, or the masked process). Tokens that are not
    `present`, (B, S, N) bool, are neither seen nor counted; those not in `counts` are not counted.
    """
    batch, count, num_tokens = labels.shape
    # (B, S N, N): copy n of a candidate reads its tokens before n clean.
    ids = labels.repeat_interleave(num_tokens, dim=1)
    order = torch.arange(num_tokens, device=labels.device)
    t = (order >= order.unsqueeze(1)).float().repeat(count, 1).unsqueeze(0)
    state = clean_or_hidden(model, ids, t > 0)
    layout = None
    if present is not None:
        layout = Layout(present.repeat_interleave(num_tokens, dim=1).unsqueeze(2))
    features = model.features(state, t, prepared, layout)  # (B, S N, N, D)
    # Of copy n only token n is a factor: (B, S, N, N, D) -> (B, S, N, D), before anything K-wide.
    copies = features.view(batch, count, num_tokens, num_tokens, -1)
    diagonal = copies.diagonal(dim1=2, dim2=3).movedim(-1, 2)
    return counted(token_log_probabilities(model, diagonal, labels), present, counts)


def clean_or_hidden(model: LabelModel, labels: Tensor, hidden: Tensor) -> State:
    """Labels (B, S, n) read clean, and as y_T = 0 where `hidden`, broadcastable to (B, S, n).

    Not as a draw of y_T: an embedding that passes noise on, such as W y_t, would make each factor a
    function of that draw, and the probabilities of all answers would not sum to 1.
    """
    device = labels.device
    one = torch.ones(1, 1, 1, device=device)
    # Unseeded: clean labels have no noise, whatever is drawn.
    clean = model.corrupt(Clean(labels), one, torch.Generator(device=device))
    y_t = torch.zeros(1, 1, 1, model.num_classes, device=device)
    nothing = model.read(y_t, one - 1).h  # (1, 1, 1, D)
    return State(torch.where(hidden.unsqueeze(-1), nothing, clean.h))  # (B, S, n, D)


def counted(log_p: Tensor, *masks: Tensor | None) -> Tensor:
    """Sum over the tokens that are in every mask, (B, S, N) -> (B, S); None has all."""
    for mask in masks:
        log_p = log_p if mask is None else log_p.masked_fill(~mask, 0.0)
    return log_p.sum(-1)


def up_to_end(labels: Tensor, pad: int) -> Tensor:
    """(..., N) bool: the words of a caption and its end, the first pad."""
    pads = (labels == pad).long()
    return pads.cumsum(-1) <= pads


def token_log_probabilities(model: LabelModel, features: Tensor, labels: Tensor) -> Tensor:
    """log p of each label from its features, (B, S, N, D), (B, S, N) -> (B, S, N)."""
    # These tokens were read as y_T = 0: alpha_bar = 0, and no y_t to correct for.
    alpha_bar = torch.zeros(1, 1, 1, device=labels.device)
    logits = model.logits(model.outputs(features), None, alpha_bar)  # (B, S, N, K)
    picked: Tensor = logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return picked
