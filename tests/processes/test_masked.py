from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from addkit.diffusion import (
    LabelDiffusion,
    ObjectiveSettings,
    Targets,
    TimeSettings,
    objective,
)
from addkit.processes.masked import MaskedProcess

from ..diffusion.networks import Corrupted, condition_of, corrupted, generator, network

B, R, N, K = 2000, 2, 4, 5


def _labels(batch: int = B) -> Tensor:
    return torch.randint(K, (batch, R, N), generator=generator(1))


def _model(weight, embedding: str = "token") -> LabelDiffusion:
    return network(MaskedProcess(weight), embedding=embedding).requires_grad_(False)


def _hide(weight, targets: Targets, **asked) -> Corrupted:
    settings = ObjectiveSettings(**asked)
    return corrupted(_model(weight), targets, settings, generator(3))


@pytest.mark.parametrize("weight", ["none", "1/t"])
def test_masks_alone_count(weight) -> None:
    hidden = _hide(weight, Targets(_labels()))
    assert ((hidden.t == 0) | (hidden.t == 1)).all()
    assert torch.equal(hidden.alpha_bar, 1 - hidden.t)
    assert torch.equal(hidden.weights > 0, hidden.t == 1)
    if weight == "none":
        assert torch.equal(hidden.weights, hidden.t)


def test_the_state_is_the_token_or_the_mask() -> None:
    model = _model("none")
    hidden = corrupted(model, Targets(_labels()), ObjectiveSettings(), generator(3))
    masked = hidden.t == 1
    assert torch.equal(hidden.state.h[~masked], model.embedding.weight[_labels()[~masked]])
    assert (hidden.state.h[masked] == model.embedding.mask).all()


def test_the_number_of_masks_is_uniform() -> None:
    masks = _hide("none", Targets(_labels())).t.sum(-1).flatten()
    for count in range(N + 1):
        share = float((masks == count).double().mean())
        assert share == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / masks.numel()))


def test_the_weights_over_t_are_unbiased() -> None:
    """E[masked / t] = 1 for every token: their variance is E[1 / t] - 1, infinite but for the
    floor, so the mean is taken over many rows and compared at its own error."""
    hidden = _hide("1/t", Targets(_labels()))
    error = hidden.weights.std() / math.sqrt(hidden.weights.numel())
    assert abs(float(hidden.weights.mean()) - 1) < 4 * float(error)
    assert float(hidden.norm) == B * R * N
    weighted = _hide("1/t", Targets(_labels(), torch.full((B, R, N), 0.3)))
    torch.testing.assert_close(weighted.weights, 0.3 * hidden.weights)
    assert float(weighted.norm) == pytest.approx(0.3 * B * R * N)


def test_pure_noise_rows_see_masks_alone_at_weight_one() -> None:
    hidden = _hide("1/t", Targets(_labels()), pure_noise=0.5)
    rows = (hidden.t == 1).all(-1) & (hidden.weights == 1).all(-1)
    assert (rows.sum(1) >= 1).all()
    everything = _hide("1/t", Targets(_labels()), pure_noise=1.0)
    assert (everything.t == 1).all()
    assert (everything.weights == 1).all()


def test_a_missing_label_is_a_mask_without_weight() -> None:
    known = torch.rand(B, R, N, generator=generator(2)) < 0.6
    for weight in ("none", "1/t"):
        hidden = _hide(weight, Targets(_labels(), known.float(), known=known))
        assert (hidden.t[~known] == 1).all()
        assert (hidden.weights[~known] == 0).all()


@pytest.mark.parametrize("embedding", ["token", "posterior"])
def test_the_loss_by_hand(embedding: str) -> None:
    """sum over masks of -log p / t, over all tokens; or the mean over masks."""
    labels = _labels(30)
    for weight in ("none", "1/t"):
        model = _model(weight, embedding)
        settings = ObjectiveSettings(condition_drop=0.0)
        value = objective(model, condition_of(30), Targets(labels), settings, generator(4))
        hidden = corrupted(model, Targets(labels), settings, generator(4))
        features = model.features(hidden.state, hidden.t, model.prepare(condition_of(30)))
        losses, _ = hidden.losses(model, features, labels)
        norm = hidden.t.sum() if weight == "none" else labels.numel()
        torch.testing.assert_close(value.loss, (losses * hidden.weights).sum() / norm)


def test_absent_tokens_are_not_seen() -> None:
    present = torch.arange(N) < torch.randint(1, N + 1, (B, R, 1), generator=generator(7))
    targets = Targets(_labels(), present.float(), present=present)
    hidden = _hide("none", targets)
    assert torch.equal(hidden.layout.visible, present.unsqueeze(2))
    assert (hidden.weights[~present] == 0).all()


def test_the_share_of_masks_is_never_warped() -> None:
    """A map of times is learnt from noise levels, which masks do not have."""
    process, targets = MaskedProcess("1/t"), Targets(_labels(50))
    plain, warped = (
        process.corrupt(targets, network().schedule, TimeSettings(warp=warp), generator())
        for warp in (None, torch.zeros_like)
    )
    assert torch.equal(plain.t, warped.t)
    assert torch.equal(plain.weights, warped.weights)


def test_a_row_has_one_share_of_masks_whatever_the_token_times() -> None:
    """Rows whose tokens are clean or noise by themselves would have shares of 0 and 1 alone."""
    hidden = _hide("1/t", Targets(_labels()), token_times=(0.0, 0.0, 1.0))
    weights = hidden.weights
    # 1 / t of the row, where a token is masked.
    mixed = (hidden.t.sum(-1) > 0) & (hidden.t.sum(-1) < N)
    assert float(mixed.double().mean()) == pytest.approx(0.6, abs=0.05)
    assert torch.equal(weights, hidden.t * weights.amax(-1, keepdim=True))
    assert float(weights[mixed].amax(-1).min()) > 1
