"""Fine-tuning: an encoder that is frozen at first, and its own learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from addkit.model import build_data, build_network
from addkit.recipe import read_recipe
from addkit.runs import Run
from addkit.training.optimizer import build_optimizer, encoder_warmup
from addkit.training.train import train
from addkit.training.trainer import Callback, Trainer

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]
TUNED = (
    "encoder.frozen=true",
    "encoder.lr_scale=0.1",
    "encoder.dropout=0.1",
    "augmentation.shift=1",
    "features.cache=true",
    "training.unfreeze_after=2",
    "training.epochs=4",
    "training.lr=1e-2",
    "training.warmup_epochs=1",
)
"""19 steps in an epoch; the encoder is trained from step 39 on."""


def _opened(lab: Any, name: str, *changes: str) -> Trainer:
    folder = f'features.folder="{lab.folder}/cache"'
    trainer: Trainer = lab.open(name, *TUNED, folder, *changes)
    return trainer


def _encoder(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in trainer.network.encoder.state_dict().items()}


def test_the_encoder_is_trained_after_those_epochs(lab: Any) -> None:
    trainer = _opened(lab, "run")
    states: list[dict[str, torch.Tensor]] = [_encoder(trainer)]
    rates: list[list[float]] = []

    class Watcher(Callback):
        unfrozen_at = 0

        def unfrozen(self, trainer: Trainer) -> None:
            self.unfrozen_at = trainer.progress.step
            assert not trainer.reads_features

        def epoch(self, trainer: Trainer, epoch: int) -> None:
            states.append(_encoder(trainer))
            rates.append([group["lr"] for group in trainer.engine.optimizer.param_groups])
            assert trainer.reads_features == (epoch < 2)

    watcher = Watcher()
    trainer.fit([watcher])
    assert watcher.unfrozen_at == 38
    moved = [any(not torch.equal(x, states[0][name]) for name, x in s.items()) for s in states[1:]]
    assert moved == [False, False, True, True]
    # Batch norms keep their statistics, so that nothing jumps at the boundary.
    statistics = [name for name in states[0] if "running" in name or "tracked" in name]
    assert statistics
    assert all(torch.equal(states[-1][name], states[0][name]) for name in statistics)
    of_encoder = [group["of_encoder"] for group in trainer.engine.optimizer.param_groups]
    assert sorted(of_encoder) == [False, False, True, True]
    for epoch, values in enumerate(rates):
        shares = [rate / max(values) for rate in values]
        expected = 0.1 if epoch >= 2 else 0.0
        assert [s == pytest.approx(expected) for s in shares] == of_encoder


def test_its_rate_rises_from_its_first_step_on(lab: Any) -> None:
    plan = _opened(lab, "run").plan
    assert (plan.unfreeze_step, plan.warmup_steps) == (38, 19)
    assert [encoder_warmup(step, plan) for step in (0, 37, 38, 56, 70)] == [0, 0, 1 / 19, 1, 1]
    assert encoder_warmup(0, _opened(lab, "all", "training.unfreeze_after=0").plan) == 1


@pytest.mark.parametrize("stop", [21, 37, 38, 45, 57])
def test_a_resumed_run_ends_in_the_same_bits(
    lab: Any, same: Same, stop: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In both stages, and at the boundary between them."""
    whole = _opened(lab, "whole")
    losses = [report.loss for report in lab.fit(whole).reports]
    killed = _opened(lab, "killed")
    lab.fit(killed, stop_after=stop)
    killed.save(wait=True)
    torch.rand(11)
    again = Trainer.open(Run(killed.run.path), killed.run.recipe(), "cpu")
    assert again.progress.step == stop
    rest = lab.fit(again)
    assert [report.loss for report in rest.reports] == losses[stop:]
    assert same(lab.stored(whole.run.path), lab.stored(killed.run.path))


def test_a_control_has_the_same_two_stages(lab: Any) -> None:
    trainer = _opened(
        lab, "run", "training.epochs=2", "training.unfreeze_after=1", "sampling.steps=1",
        'control.heads=["linear"]',
    )  # fmt: skip
    seen: list[tuple[str, int]] = []

    class Watcher(Callback):
        def unfrozen(self, trainer: Trainer) -> None:
            seen.append((trainer.name, trainer.progress.step))

    train(trainer.recipe, trainer.run, [Watcher()], "cpu")
    assert seen == [("ADD", 19), ("control, linear", 19)]


def test_a_frozen_encoder_is_not_in_the_optimizer(lab: Any) -> None:
    for changes, kinds in (
        (("training.unfreeze_after=0",), {False}),
        ((), {False, True}),
        (
            ("encoder.frozen=false", "training.unfreeze_after=0", "features.cache=auto"),
            {True, False},
        ),
    ):
        recipe = read_recipe(lab.recipe, [*TUNED, *changes])
        network = build_network(recipe, build_data(recipe).facts)
        groups = build_optimizer(network, recipe.training, lr_scale=0.1).param_groups
        assert {group["of_encoder"] for group in groups} == kinds
        assert {group["lr_scale"] for group in groups if group["of_encoder"]} <= {0.1}


def test_fixed_parameters_of_an_encoder_stay_fixed(lab: Any) -> None:
    recipe = read_recipe(lab.recipe, TUNED)
    network = build_network(recipe, build_data(recipe).facts)
    assert network.later == {name for name, _ in network.named_parameters() if "encoder." in name}
    assert not any(p.requires_grad for p in network.encoder.parameters())
    network.unfreeze()
    assert all(p.requires_grad for p in network.encoder.parameters())
