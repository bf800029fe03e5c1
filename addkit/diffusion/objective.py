"""The timestep-conditioned objective with feature reuse (sections 3.2 and 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from addkit.diffusion.chunked_loss import RowLosses, row_losses
from addkit.diffusion.guidance import drop_condition
from addkit.diffusion.model import LabelDiffusion, NoisyBatch
from addkit.diffusion.results import Targets
from addkit.diffusion.timesteps import TimedLosses

if TYPE_CHECKING:
    from addkit.plugin.facts import SideInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """Which rows a training step looks at; see `addkit.recipe.Training` for each."""

    stratified: bool = True
    pure_noise: float = 0.0
    condition_drop: float = 0.1
    token_times: tuple[float, float, float] = (1.0, 0.0, 0.0)
    rollout: float = 0.0


class ObjectiveValue(NamedTuple):
    """Losses of one micro-batch before their mean. DDP and FSDP2 find the loss in a tuple only."""

    total: Tensor
    """Weighted sum over tokens, a scalar with gradient."""
    weight: Tensor
    """Its normaliser, a scalar: the sum of the weights, or B R N where all tokens count alike."""
    tokens: int
    """B R N."""
    accuracy: Tensor
    """Share of real tokens whose most probable class is the label, noise level as drawn."""
    pad_loss: Tensor | None = None
    """Mean over pads, unweighted, where there are pads; no gradient."""
    real_loss: Tensor | None = None
    """Mean over the other tokens."""
    timed: TimedLosses | None = None
    """What tokens cost at their times; None where the process draws no times."""

    @property
    def loss(self) -> Tensor:
        """Weighted mean over the tokens of this batch alone, a scalar with gradient."""
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
        settings: which rows to look at.
        generator: on the device of the labels.
        side_inputs: what is known beside the images; dropped where their condition is.
    """
    condition = drop_condition(
        model.condition(tokens, side_inputs), model.null, settings.condition_drop, generator
    )
    prepared = model.prepare(condition)
    hidden = model.process.corrupt(model, prepared, targets, settings, generator)
    before = _remembered(model, hidden, prepared, generator)
    features = model.features(hidden.state, hidden.t, prepared, hidden.layout, before)
    rows = row_losses(model, features, hidden, targets.labels)
    total, weight = _summed(rows.losses, hidden)
    if model.lengths is not None and targets.present is not None:
        total = total + weight * _length_loss(model, condition, targets.present)
    timed = _timed(rows.losses.detach(), hidden)
    return ObjectiveValue(total, weight, targets.labels.numel(), *_shown(rows, targets), timed)


def _remembered(
    model: LabelDiffusion,
    hidden: NoisyBatch,
    prepared: tuple[Tensor, ...],
    generator: torch.Generator,
) -> Tensor | None:
    """Self-conditioning (Chen et al. 2023): in a share of batches, features of a first look."""
    if not model.remembers:
        return None
    drawn = torch.rand((), generator=generator, device=generator.device)
    if float(drawn) >= model.denoiser.self_condition:
        return None
    with torch.no_grad():
        return model.features(hidden.state, hidden.t, prepared, hidden.layout).detach()


def _summed(losses: Tensor, hidden: NoisyBatch) -> tuple[Tensor, Tensor]:
    """The weighted sum, and what divides it once the whole global batch is known."""
    if hidden.weights is None:
        return losses.sum(), losses.new_full((), losses.numel(), dtype=torch.float32)
    norm = hidden.weights.sum() if hidden.norm is None else hidden.norm
    return (losses * hidden.weights).sum(), norm


def _timed(losses: Tensor, hidden: NoisyBatch) -> TimedLosses | None:
    if hidden.drawn is None:
        return None
    t = hidden.drawn.expand(losses.shape)
    weights = torch.ones_like(losses) if hidden.weights is None else hidden.weights
    return TimedLosses(t.flatten(), losses.flatten(), weights.flatten())


def _length_loss(model: LabelDiffusion, condition: Tensor, present: Tensor) -> Tensor:
    """-log p(number of real tokens), over the reuse copies, whose captions may differ."""
    lengths = present.sum(-1)
    logits = model.length_logits(condition).unsqueeze(1).expand(-1, lengths.shape[1], -1)
    return functional.cross_entropy(logits.flatten(0, 1), lengths.flatten())


def _shown(rows: RowLosses, targets: Targets) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Accuracy on real tokens, the loss of pads and that of real tokens."""
    right, losses = rows.right.float(), rows.losses.detach()
    if targets.real is None:
        known = targets.known
        return right.mean() if known is None else _over(right, known.float()), None, None
    real = targets.real.float()
    return _over(right, real), _over(losses, 1 - real), _over(losses, real)


def _over(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of what counts; 0 where nothing does, such as the pads of a batch without pads."""
    return (values * counted).sum() / counted.sum().clamp_min(1)
