"""What the Gaussian process shows the network in training, and which tokens count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from addkit.diffusion import Clean, LabelDiffusion, ObjectiveSettings, Targets, objective

from .networks import Corrupted, condition_of, corrupted, generator, network

B, R, N, K = 60, 4, 4, 5


def _labels(seed: int = 1) -> Tensor:
    return torch.randint(K, (B, R, N), generator=generator(seed))


def _hide(
    targets: Targets, model: LabelDiffusion | None = None, seed: int = 0, **asked
) -> Corrupted:
    model = model or network(bayes_skip=True).requires_grad_(False)
    prepared = model.prepare(condition_of(B))
    settings = ObjectiveSettings(condition_drop=0.0, **asked)
    return corrupted(model, targets, settings, generator(seed), prepared)


def test_plain_targets_have_noise_and_no_weights() -> None:
    hidden = _hide(Targets(_labels()))
    assert hidden.weights is None
    assert hidden.layout is None
    assert torch.equal(hidden.t, hidden.t[..., :1].expand(B, R, N))
    torch.testing.assert_close(hidden.alpha_bar, network().schedule.alpha_bar(hidden.t))
    hot = torch.nn.functional.one_hot(_labels(), K)
    level = hidden.alpha_bar.unsqueeze(-1)
    noise = (hidden.state.y_t - level.sqrt() * hot) / (1 - level).sqrt()
    torch.testing.assert_close(noise, hidden.state.noise, atol=1e-3, rtol=1e-3)
    assert abs(float(noise.mean())) < 4 / (B * R * N * K) ** 0.5
    assert float(noise.var()) == pytest.approx(1, abs=0.09)


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.3, 0.3, 0.4)])
def test_a_missing_label_stays_pure_noise_without_weight(shares: tuple) -> None:
    """Another label in its place changes neither the state nor the loss."""
    known = torch.rand(B, R, N, generator=generator(2)) < 0.7
    model = network(bayes_skip=True)
    told = []
    for filling in (0, 4):
        labels = torch.where(known, _labels(), filling)
        targets = Targets(labels, known.float(), known=known)
        hidden = _hide(targets, model, token_times=shares)
        assert (hidden.t[~known] == 1).all()
        assert (hidden.weights[~known] == 0).all()
        assert ((hidden.weights == 1) == (known & (hidden.t > 0))).all()
        settings = ObjectiveSettings(token_times=shares)
        value = objective(model, condition_of(B), targets, settings, generator(4))
        told.append((hidden.state.h[~known], value.loss, value.accuracy))
    for one, other in zip(*told, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_given_tokens_have_no_weight() -> None:
    hidden = _hide(Targets(_labels()), token_times=(0.0, 0.0, 1.0))
    assert torch.equal(hidden.weights, hidden.t)
    halves = torch.full((B, R, N), 0.5)
    hidden = _hide(Targets(_labels(), halves), token_times=(0.5, 0.0, 0.5))
    assert torch.equal(hidden.weights, 0.5 * (hidden.t > 0))


def test_the_loss_is_the_weighted_mean_over_tokens() -> None:
    model = network()
    targets = Targets(_labels(), torch.rand(B, R, N, generator=generator(5)))
    settings = ObjectiveSettings(condition_drop=0.0, token_times=(0.3, 0.3, 0.4))
    value = objective(model, condition_of(B), targets, settings, generator(6))
    # The objective asks whether to drop conditions before it draws; at 0 nothing is drawn.
    hidden = corrupted(model, targets, settings, generator(6))
    features = model.features(hidden.state, hidden.t, model.prepare(condition_of(B)))
    losses, _ = hidden.losses(model, features, targets.labels)
    weights = targets.weights * (hidden.t > 0)
    torch.testing.assert_close(value.loss, (losses * weights).sum() / weights.sum())


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_rollout_shows_its_share_of_rows_the_networks_own_guess(share: float) -> None:
    """The noise is the same, so y_t differs only where the guess is another label."""
    model = network(bayes_skip=True, spread=0.5).requires_grad_(False)
    targets = Targets(_labels())
    shares = (0.4, 0.3, 0.3)
    hidden = _hide(targets, model, rollout=share, token_times=shares)
    level = hidden.alpha_bar.unsqueeze(-1)
    shown = ((hidden.state.y_t - (1 - level).sqrt() * hidden.state.noise) / level.sqrt()).argmax(-1)
    readable = (hidden.alpha_bar > 1e-3) & (hidden.alpha_bar < 1)
    other = (shown != targets.labels) & readable
    rows = other.any(-1)
    assert (rows.sum(1) <= share * R).all()
    assert rows.double().mean() > 0.5 * share
    assert not (other & (hidden.t == 0)).any()


def test_without_rollout_the_true_labels_are_shown() -> None:
    hidden = _hide(Targets(_labels()))
    level = hidden.alpha_bar.unsqueeze(-1)
    clean = (hidden.state.y_t - (1 - level).sqrt() * hidden.state.noise) / level.sqrt()
    readable = hidden.alpha_bar > 1e-3
    assert torch.equal(clean.argmax(-1)[readable], _labels()[readable])


def test_a_guess_is_the_networks_best_at_an_earlier_time(monkeypatch) -> None:
    """Where the network always says class 2, a rolled-out row shows class 2."""
    model = network(bayes_skip=False).requires_grad_(False)
    model.output.weight.zero_()
    model.output.bias.copy_(torch.tensor([0.0, 0, 9, 0, 0]))
    seen: list[Tensor] = []
    corrupt = LabelDiffusion.corrupt

    def watched(model, clean, alpha_bar, source, *, keep_y_t=False):
        seen.append(alpha_bar)
        watched.shown = clean.ids
        return corrupt(model, clean, alpha_bar, source, keep_y_t=keep_y_t)

    monkeypatch.setattr(LabelDiffusion, "corrupt", watched)
    _hide(Targets(_labels()), model, rollout=1.0)
    assert (watched.shown == 2).all()
    earlier, own = seen
    assert (earlier < own).all()
    assert torch.equal(earlier, earlier[..., :1].expand_as(earlier))  # As the row's own time.


@pytest.mark.parametrize("rollout", [0.0, 1.0])
def test_pads_that_do_not_exist_are_not_seen(rollout: float) -> None:
    present = torch.arange(N) < torch.randint(1, N + 1, (B, R, 1), generator=generator(7))
    model, told = network(), []
    for filling in (0, 3):
        labels = torch.where(present, _labels(), filling)
        targets = Targets(labels, present.float(), real=present, present=present)
        settings = ObjectiveSettings(condition_drop=0.0, rollout=rollout)
        value = objective(model, condition_of(B), targets, settings, generator(8))
        told.append((value.loss, value.accuracy, value.real_loss))
    for one, other in zip(*told, strict=True):
        torch.testing.assert_close(one, other)


def test_losses_of_pads_and_of_words_are_told_apart() -> None:
    """Their means by hand; 0 in a batch without pads."""
    model = network()
    real = torch.rand(B, R, N, generator=generator(9)) < 0.5
    settings = ObjectiveSettings(condition_drop=0.0)
    value = objective(model, condition_of(B), Targets(_labels(), real=real), settings, generator(1))
    hidden = corrupted(model, Targets(_labels()), settings, generator(1))
    features = model.features(hidden.state, hidden.t, model.prepare(condition_of(B)))
    losses, right = hidden.losses(model, features, _labels())
    torch.testing.assert_close(value.real_loss, losses[real].mean())
    torch.testing.assert_close(value.pad_loss, losses[~real].mean())
    torch.testing.assert_close(value.accuracy, right[real].float().mean())
    everything = Targets(_labels(), real=torch.ones_like(real))
    value = objective(model, condition_of(B), everything, settings, generator(1))
    assert value.pad_loss == 0
    torch.testing.assert_close(value.real_loss, losses.mean())


def test_accuracy_is_of_known_labels() -> None:
    model = network()
    nothing = Targets(_labels(), torch.zeros(B, R, N), known=torch.zeros(B, R, N, dtype=torch.bool))
    value = objective(model, condition_of(B), nothing, ObjectiveSettings(), generator())
    assert (value.loss, value.accuracy) == (0, 0)
    assert value.real_loss is None


def test_a_soft_label_is_noised_as_it_is() -> None:
    model = network(scale=1.3)
    soft = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0]).expand(B, R, N, 5)
    state = model.corrupt(Clean(soft.argmax(-1), soft), torch.ones(1, 1, 1), generator())
    torch.testing.assert_close(state.y_t, 1.3 * soft)


def test_a_length_head_adds_its_cross_entropy() -> None:
    model = network(lengths=True)
    lengths = torch.randint(1, N + 1, (B, R, 1), generator=generator(7))
    present = torch.arange(N) < lengths
    targets = Targets(_labels(), present.float(), real=present, present=present)
    settings = ObjectiveSettings(condition_drop=0.0)
    value = objective(model, condition_of(B), targets, settings, generator(8)).loss
    log_p = model.length_logits(condition_of(B)).log_softmax(-1)
    head, model.length_head = model.length_head, None
    without = objective(model, condition_of(B), targets, settings, generator(8)).loss
    torch.testing.assert_close(value - without, -log_p.gather(1, lengths.squeeze(-1)).mean())
    model.length_head = head
    turned = model.length_logits(condition_of(B).roll(1, 1))
    torch.testing.assert_close(turned.log_softmax(-1), log_p)  # Of all condition tokens alike.
    model.length_head = None
    with pytest.raises(ValueError, match="without a length head"):
        model.length_logits(condition_of(B))
    assert head is not None
