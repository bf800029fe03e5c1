"""Training with times that are learnt: small digits runs, and the recipe's table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import addkit
from addkit.diffusion import LabelDiffusion, ObjectiveSettings, Targets, objective
from addkit.errors import RecipeError
from addkit.model import build_data, build_network
from addkit.processes.masked import MaskedProcess
from addkit.recipe import read_recipe
from addkit.runs import Run
from addkit.testing.exact_models import exact_denoiser
from addkit.timesteps.settings import WarpedConfig
from addkit.timesteps.warped import WarpedTimes

WARPED = "timesteps.name=warped"
SIZES = ("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1")


def _losses(recorder: Any) -> list[float]:
    return [report.loss for report in recorder.reports]


def test_a_run_trains_and_its_map_lies_in_the_checkpoint(lab: Any) -> None:
    trainer = lab.open("run", WARPED, "training.lr=1e-2")
    times = trainer.network.diffusion.timesteps
    assert isinstance(times, WarpedTimes)
    start = times.levels()
    losses = _losses(lab.fit(trainer))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert float((times.levels() - start).abs().max()) > 0.05
    stored = lab.stored(trainer.run.path)
    for weights in ("raw", "ema"):
        for name in ("loss", "weight"):
            kept = stored[f"{weights}: diffusion.timesteps.{name}"]
            assert torch.equal(kept, getattr(times, name))
    assert not [name for name in stored if name.startswith("optimizer") and ".timesteps." in name]


@pytest.mark.parametrize("stop", [20, 30])
def test_a_resumed_run_ends_in_the_same_bits(lab: Any, same: Any, stop: int) -> None:
    straight, killed = lab.open("straight", WARPED), lab.open("killed", WARPED)
    whole = _losses(lab.fit(straight))
    lab.fit(killed, stop_after=stop)
    torch.rand(11)
    again = lab.open("killed", WARPED)
    assert again.progress.step == 19
    assert _losses(lab.fit(again)) == whole[19:]
    assert same(lab.stored(straight.run.path), lab.stored(again.run.path))


def test_what_is_learnt_does_not_depend_on_micro_batches(lab: Any) -> None:
    """The same 64 images in two halves draw other noise, but count as one step."""
    trainer = lab.open("run", WARPED, "distributed.per_process_batch=32", "training.pure_noise=0.5")
    lab.fit(trainer, stop_after=1)
    times = trainer.network.diffusion.timesteps
    assert isinstance(times, WarpedTimes)
    new = times.weight.double().sum() - len(times.knots) * times.decay
    # Half of 64 x 4 rows are at t = T, where nothing is learnt; no knot falls below 1.
    assert 128 <= float(new) < 129


def test_the_default_changes_nothing(recipes: Path) -> None:
    """No state of its own, and the same initial weights as without the component's kind."""
    networks = {}
    for overrides in ((), ("timesteps.name=power",), (WARPED,)):
        recipe = read_recipe(recipes / "digits.toml", [*SIZES, *overrides])
        networks[overrides] = build_network(recipe, build_data(recipe).facts)
    plain, named, warped = (network.state_dict() for network in networks.values())
    assert networks[()].diffusion.timesteps is None
    assert plain.keys() == named.keys()
    assert {name for name in warped if name not in plain} == {
        "diffusion.timesteps.loss",
        "diffusion.timesteps.weight",
    }
    assert all(torch.equal(plain[name], other[name]) for other in (named, warped) for name in plain)


def test_a_trained_run_answers(trained: Callable[..., Path], tmp_path: Path) -> None:
    run = trained(tmp_path / "run", WARPED, "training.epochs=1", "control.heads=[]")
    images = build_data(Run(run).recipe()).split("test").batch([0, 1], None).images
    predictor = addkit.load(run)
    assert isinstance(predictor.network.diffusion.timesteps, WarpedTimes)
    assert predictor.network.condition(images).shape[0] == 2


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["loss.name=weighted-ce"], 'loss] "weighted-ce" does not provide "rises-with-t"'),
        (["loss.name=mse", "denoiser.bayes_skip=false"], 'or timesteps.name = "power"'),
        (["timesteps.floor=0"], "floor"),
        (["timesteps.bins=1"], "bins"),
        (["timesteps.half_life=0"], "half_life"),
    ],
)
def test_what_does_not_go_with_it(recipes: Path, overrides: list[str], reason: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(recipes / "digits.toml", [WARPED, *overrides])
    assert reason in str(caught.value)


def test_masks_have_no_levels_to_learn(recipes: Path) -> None:
    process = ["process.name=masked", "sampler.name=maskgit", "embedding.name=token"]
    assert read_recipe(recipes / "emoji.toml", process).choices["timesteps"].name == "power"
    with pytest.raises(RecipeError, match='process] "masked" does not provide "noise-levels"'):
        read_recipe(recipes / "emoji.toml", [*process, WARPED])


def _exact(times: WarpedTimes | None) -> LabelDiffusion:
    from addkit.testing.exact_models import Levels

    model = exact_denoiser(5, Levels(lambda t: 1 - t, 1.0), 3)
    model.timesteps = times
    return model


def _asked(model: LabelDiffusion, known: Tensor | None = None):
    labels = torch.randint(5, (60, 4, 3), generator=torch.Generator().manual_seed(1))
    weights = None if known is None else known.float()
    settings = ObjectiveSettings(pure_noise=0.25, condition_drop=0.0, token_times=(1.0, 1.0, 1.0))
    tokens = torch.zeros(60, 3, 5)
    targets = Targets(labels, weights, known=known)
    return objective(model, tokens, targets, settings, torch.Generator().manual_seed(2))


def test_only_drawn_times_are_learnt_from() -> None:
    times = WarpedTimes(WarpedConfig(), 5, 1.0)
    timed = _asked(_exact(times)).timed
    assert timed is not None
    assert timed.t.shape == timed.losses.shape == timed.weights.shape == (60 * 4 * 3,)
    assert not timed.losses.requires_grad
    assert torch.equal(timed.drawn == 1, (timed.t > 0) & (timed.t < 1))
    # A quarter of the rows is at T; of the others a third has tokens that are clean or there.
    assert float(timed.drawn.mean()) == pytest.approx(0.5, abs=0.07)


def test_losses_are_told_by_time_also_where_nobody_learns_from_them() -> None:
    timed = _asked(_exact(None)).timed
    assert timed is not None
    assert float(timed.drawn.mean()) == pytest.approx(0.5, abs=0.07)
    assert timed.weights[timed.t == 1].all()
    masked = _exact(None)
    masked.process = MaskedProcess("none")
    assert _asked(masked).timed is None


def test_a_missing_label_teaches_nothing() -> None:
    times = WarpedTimes(WarpedConfig(), 5, 1.0)
    known = torch.rand(60, 4, 3, generator=torch.Generator().manual_seed(3)) < 0.7
    timed = _asked(_exact(times), known).timed
    assert timed is not None
    assert (timed.weights[~known.flatten()] == 0).all()
