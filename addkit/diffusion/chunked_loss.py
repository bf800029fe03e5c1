"""The output layer and the loss, over so many rows at a time that K-wide tensors stay small."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from addkit.diffusion.model import LabelDiffusion
from addkit.plugin.values import State

LARGEST = 2**23
"""Numbers in one K-wide tensor, 32 MiB in fp32."""


def token_losses(
    model: LabelDiffusion, features: Tensor, state: State, alpha_bar: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss of every token, with gradient, and whether its most probable class is the label.

    Where B R N K is large and y_t is not kept anyway, rows go in chunks through the output layer
    and the loss, each computed again in the backward pass: K-wide memory is that of one chunk.

    Args:
        model: with its output layer and loss.
        features: (B, R or 1, N, D).
        state: what the network read.
        alpha_bar: of the predicted tokens, broadcastable to (B, R, N).
        labels: (B, R, N).
    """
    if state.y_t is not None or labels.numel() * model.num_classes <= LARGEST:
        # (B, R, N, K); features may be one copy for all R.
        outputs = model.outputs(features, state, alpha_bar).expand(*labels.shape, -1)
        losses = model.losses(outputs, labels, alpha_bar, state.noise)
        # Accuracy alone, so that autograd keeps no K-wide tensor for it.
        with torch.no_grad():
            right = model.logits(outputs, state.y_t, alpha_bar).argmax(-1) == labels
        return losses, right
    rows = features.expand(*labels.shape, -1).flatten(0, 2)  # (B R N, D)
    flat_labels, levels = labels.flatten(), alpha_bar.expand(labels.shape).flatten()
    places = _places(labels.shape, labels.device)
    parts = [
        checkpoint(
            _chunk_losses,
            model,
            rows[chunk],
            flat_labels[chunk],
            levels[chunk],
            places[chunk],
            use_reentrant=False,
            # Neither the output layer nor a loss draws random numbers.
            preserve_rng_state=False,
        )
        for chunk in _chunks(len(rows), model.num_classes)
    ]
    losses, right = (torch.cat(column).view(labels.shape) for column in zip(*parts, strict=True))
    return losses, right


def _chunk_losses(
    model: LabelDiffusion, features: Tensor, labels: Tensor, alpha_bar: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Rows (n, D), (n,), (n,), (n,) -> losses and hits (n,)."""
    outputs, levels = model.outputs(features[None, None]), alpha_bar[None, None]
    losses = model.losses(outputs, labels[None, None], levels, None)
    with torch.no_grad():
        best = model.logits(outputs, None, levels, places).argmax(-1)
    return losses[0, 0], best[0, 0] == labels


@torch.no_grad()
def most_likely(model: LabelDiffusion, features: Tensor, state: State, alpha_bar: Tensor) -> Tensor:
    """The most probable class of every token, (B, R, N)."""
    if state.y_t is not None:
        outputs = model.outputs(features, state, alpha_bar)
        return model.logits(outputs, state.y_t, alpha_bar).argmax(-1)
    shape, rows = features.shape[:3], features.flatten(0, 2)
    # Without y_t the most probable class does not depend on the level.
    level = torch.zeros(1, 1, 1, device=rows.device)
    places = _places(shape, rows.device)
    parts = [
        model.logits(model.outputs(rows[chunk][None, None]), None, level, places[chunk]).argmax(-1)
        for chunk in _chunks(len(rows), model.num_classes)
    ]
    return torch.cat(parts, -1).view(shape)


def _places(shape: torch.Size, device: torch.device) -> Tensor:
    """Which of the N tokens each row of a flattened (B, R, N) is."""
    return torch.arange(shape[2], device=device).expand(shape).flatten()  # (B R N,)


def _chunks(rows: int, num_classes: int) -> Iterator[slice]:
    # At least one row, whatever K is.
    size = max(1, LARGEST // num_classes)
    return (slice(start, start + size) for start in range(0, rows, size))
