r"""The timestep-conditioned objective with feature reuse (sections 3.2 and 3.3).

.. math::
    L = \frac{\sum_n w_n\, \ell(f(y_t, t, c), y_0)_n}{\sum_n w_n},
    \qquad y_t \sim q(y_t \mid y_0),\ t \sim p(t)

over the B R N label tokens n of the whole global batch: R noisy copies of each image share one
condition. `objective` returns the two sums of one micro-batch; the trainer adds them over
micro-batches and ranks and divides once. w_n is 1 or the weight of the task and the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from addkit.diffusion.model import LabelDiffusion
from addkit.diffusion.noise import even_rows
from addkit.plugin.values import NoisyBatch, SideInputs, State, Targets, TimedLosses, TimeSettings

LARGEST = 2**23
"""Numbers in one K-wide tensor, 32 MiB in fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """Which rows a training step draws; see `addkit.recipe.Training` for each."""

    stratified: bool = True
    pure_noise: float = 0.0
    condition_drop: float = 0.1
    token_times: tuple[float, float, float] = (1.0, 0.0, 0.0)
    rollout: float = 0.0
    sum_tokens: bool = False


class ObjectiveValue(NamedTuple):
    """The loss of one micro-batch; a tuple of tensors, which DDP and FSDP2 can look into."""

    total: Tensor
    """Weighted sum over tokens, a scalar with gradient."""
    weight: Tensor
    """What divides it once the whole global batch is summed: sum of the weights, or B R N; B R
    with `sum_tokens`."""
    tokens: int
    """B R N."""
    accuracy: Tensor
    """Share of real tokens whose most probable class is the label, noise level as drawn."""
    real_loss: Tensor | None
    """Unweighted mean over real tokens, where there are pads; no gradient."""
    pad_loss: Tensor | None
    """The same over pads."""
    timed: TimedLosses | None
    """Losses of tokens at their times; None where the process draws no times."""

    @property
    def loss(self) -> Tensor:
        """Weighted mean over the tokens of this micro-batch alone, a scalar with gradient."""
        return self.total / self.weight.clamp_min(1e-6)


def objective(
    model: LabelDiffusion,
    tokens: Tensor,
    targets: Targets,
    settings: ObjectiveSettings,
    generator: torch.Generator,
    side_inputs: SideInputs | None = None,
) -> ObjectiveValue:
    r"""E_t [ w(alpha_bar_t) l(f(y_t, t, c), y_0) ], R noisy copies for each image.

    Args:
        model: the network with its process, schedule and loss.
        tokens: from the encoder, (B, L, W). The condition is prepared once for all R copies.
        targets: labels (B, R, N); the copies of an image may differ (mixup and several captions).
        settings: which rows to draw.
        generator: on the device of the labels.
        side_inputs: optional, by column; dropped where the condition is.
    """
    labels = targets.labels
    # The order of draws (dropped conditions, times, rollout, noise, self-conditioning) is part of
    # every result: in another one the same seed gives other numbers.
    condition = drop_condition(
        model.condition(tokens, side_inputs), model.null_token, settings.condition_drop, generator
    )
    # Once for the R copies (feature reuse, section 3.3): (B, ...), broadcast over R.
    prepared = model.denoiser.prepare(condition)
    times = TimeSettings(
        stratified=settings.stratified,
        pure_noise=settings.pure_noise,
        power=model.schedule.t_power,
        warp=model.timesteps,
        token_times=settings.token_times,
    )
    batch = model.process.corrupt(targets, model.schedule, times, generator)
    if settings.rollout and batch.sampled_t is not None:
        batch = rolled_out(model, prepared, batch, settings.rollout, generator)
    state, t = model.embed(batch, generator)  # h: (B, R, M + N, D), M = 0 but for blocks
    previous = None
    if model.self_conditioning is not None and model.denoiser.self_condition > 0:
        # Chen et al. 2023: a share of batches reads the features of a first pass.
        drawn = torch.rand((), generator=generator, device=generator.device)
        if float(drawn) < model.denoiser.self_condition:
            # No gradient through the first pass, whose activations then need not be kept.
            with torch.no_grad():
                previous = model.features(state, t, prepared, batch.layout).detach()
    features = model.features(state, t, prepared, batch.layout, previous)  # (B, R or 1, N, D)
    alpha_bar = batch.alpha_bar if batch.target_alpha_bar is None else batch.target_alpha_bar
    losses, right = token_losses(model, features, state, alpha_bar, labels)  # (B, R, N) each

    if batch.weights is None:
        total = losses.sum()
        # A tensor, filled without a copy from the CPU, which would wait for the device.
        weight = losses.new_full((), labels.numel(), dtype=torch.float32)
    else:
        total = (losses * batch.weights).sum()
        weight = batch.weights.sum() if batch.norm is None else batch.norm
    if settings.sum_tokens:
        # L_text of section 3.4: a sum over the N tokens, a mean over the rows.
        weight = torch.full_like(weight, labels.shape[0] * labels.shape[1])
    if model.length_head is not None and targets.present is not None:
        lengths = targets.present.sum(-1)  # (B, R): the copies' captions may differ
        # (B, R, N + 1).
        logits = model.length_logits(condition).unsqueeze(1).expand(-1, lengths.shape[1], -1)
        # Times the weight, so that a mean over rows is added to the tokens' mean.
        total = total + weight * functional.cross_entropy(logits.flatten(0, 1), lengths.flatten())

    # Figures to report must keep no graph alive.
    detached, hits = losses.detach(), right.float()
    timed = None
    if batch.sampled_t is not None:
        weights = torch.ones_like(detached) if batch.weights is None else batch.weights
        sampled_t = batch.sampled_t.expand(detached.shape)
        timed = TimedLosses(sampled_t.flatten(), detached.flatten(), weights.flatten())
    if targets.real is not None:
        real = targets.real.float()
        means = [_mean(hits, real), _mean(detached, real), _mean(detached, 1 - real)]
        return ObjectiveValue(total, weight, labels.numel(), means[0], means[1], means[2], timed)
    accuracy = hits.mean() if targets.known is None else _mean(hits, targets.known.float())
    return ObjectiveValue(total, weight, labels.numel(), accuracy, None, None, timed)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean where the mask is 1; 0 where it is nowhere, such as the pads of a batch without pads."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


def drop_condition(
    condition: Tensor, null_token: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Replace the condition (B, C, V) of a random share of images by the null condition (V,).

    Whole images, not rows: the reuse copies of an image share one prepared condition.
    """
    if share == 0:
        return condition
    # (B, 1, 1): one draw for an image.
    u = torch.rand((condition.shape[0], 1, 1), generator=generator, device=generator.device)
    return torch.where(u.to(condition.device) < share, null_token.to(condition.dtype), condition)


@torch.no_grad()
def rolled_out(
    model: LabelDiffusion,
    prepared: tuple[Tensor, ...],
    batch: NoisyBatch,
    share: float,
    generator: torch.Generator,
) -> NoisyBatch:
    """The batch with, in a share of rows, the network's own prediction at an earlier, noisier time
    in place of the true labels.

    In sampling the network reads its own errors, in training it never would.
    """
    count, reuse, _ = batch.ids.shape
    further = torch.rand((count, reuse, 1), generator=generator, device=generator.device)
    # Uniform in [t, 1]: (B, R, N), one share of the way for all tokens of a row.
    earlier = batch.t + (1 - batch.t) * further
    alpha_bar = model.schedule.alpha_bar(earlier)
    noisier = replace(batch, t=earlier, alpha_bar=alpha_bar)
    state, t = model.embed(noisier, generator)
    features = model.features(state, t, prepared, batch.layout)  # (B, R or 1, N, D)
    guess = most_likely(model, features, state, alpha_bar)
    rows = even_rows(count, reuse, share, generator).unsqueeze(-1)
    # A token at t = 0 is given, and its noise would hide no wrong guess.
    return replace(batch, ids=torch.where(rows & (batch.t > 0), guess, batch.ids))


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
