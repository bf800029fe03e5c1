from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from addkit_paper.theory import run_report as trained

from addkit.diffusion import counted_generator
from addkit.errors import RunError, UsageError
from addkit.schedules.closed_form import CosineSchedule
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import CosineConfig, LabelAccuracyConfig
from addkit.testing.exact_models import exact_denoiser


def test_a_runs_chains_and_head(digits_run: Path) -> None:
    report = trained.measure_run(digits_run, images=6)
    assert report.images == 6
    assert [one.step for one in report.entropies] == list(range(1, len(report.entropies) + 1))
    assert report.entropies[0].t == 1.0
    assert all(0 <= one.bits <= math.log2(10) for one in report.entropies)
    assert [one.m for one in report.distances] == [0, 1, 2, 3]
    # A head with the Bayes skip is near the exact one even after two epochs.
    assert all(-1e-6 < one.kl < 0.3 for one in report.distances)
    assert report.unknown is None
    assert trained.measure_run(digits_run, images=6) == report


def test_a_control_reads_no_noisy_label(digits_run: Path) -> None:
    control = next((digits_run / "controls").iterdir())
    report = trained.measure_run(control, images=2)
    assert report.distances == ()
    assert report.unknown == trained.NO_STATE


def test_there_must_be_a_run_that_has_chains(tmp_path: Path, digits_run: Path, monkeypatch) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        trained.measure_run(tmp_path / "none")
    monkeypatch.setattr(trained.Predictor, "loops", False)
    with pytest.raises(UsageError, match='its process "gaussian" has no chain of noisy labels'):
        trained.measure_run(digits_run)


def test_of_several_labels_the_posterior_is_not_known(digits_run: Path) -> None:
    model = trained.load(digits_run).network.diffusion
    assert trained._unknown(model) is None
    model.num_tokens = 3
    assert trained._unknown(model) == trained.SEVERAL


@pytest.fixture
def log_p() -> torch.Tensor:
    return torch.randn(40, 1, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)


def test_the_exact_denoiser_is_at_no_distance(log_p: torch.Tensor) -> None:
    model = exact_denoiser(5, CosineSchedule(CosineConfig.model_validate({"scale": 2.0})))
    found = trained._distances(model, log_p, counted_generator(0, "theory"))
    assert [one.kl for one in found] == pytest.approx([0, 0, 0, 0], abs=1e-5)


def test_a_head_that_trusts_the_label_too_much_is_at_a_distance(log_p: torch.Tensor) -> None:
    """One that adds twice the evidence; at m = 0 there is none, and at y_T = 0 it is the prior."""
    model = exact_denoiser(5, CosineSchedule(CosineConfig.model_validate({})))
    outputs = model.outputs

    def twice(features, state=None, alpha_bar=None):
        return 2 * outputs(features, state, alpha_bar) - model.output(features)

    model.outputs = twice
    found = [one.kl for one in trained._distances(model, log_p, counted_generator(0, "theory"))]
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert min(found[1:3]) > 0.1


@pytest.mark.parametrize("level", [0.02, 0.5, 0.9])
@pytest.mark.parametrize(
    "schedule",
    [
        CosineSchedule(CosineConfig.model_validate({})),
        LabelAccuracySchedule(LabelAccuracyConfig.model_validate({}), 10),
    ],
    ids=["cosine", "label-accuracy"],
)
def test_finds_the_time_of_a_level(schedule, level: float) -> None:
    t = trained._time_of(schedule, level)
    found = float(schedule.alpha_bar(torch.tensor(t, dtype=torch.float64)))
    assert found == pytest.approx(level, abs=1e-4)


def test_entropy_is_in_bits() -> None:
    assert trained._bits(torch.zeros(2, 3, 1, 8)) == pytest.approx(3.0)
