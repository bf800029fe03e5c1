from __future__ import annotations

from pathlib import Path

import pytest
import torch

from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import Predictor, build_data, load
from addkit.runs import Run


def _evaluator(predictor: Predictor, seed: int = 0) -> Evaluator:
    images = build_data(predictor.recipe).split("test")
    return Evaluator.for_predictor(predictor, images, seed)


def test_stored_scores_are_those_of_the_stored_weights(digits_run: Path) -> None:
    predictor = load(digits_run)
    meters = _evaluator(predictor).score({"recipe": Setting(predictor.inference)})
    stored = Run(digits_run).manifest().scores["ema"]
    scores = meters["recipe"].compute()
    assert scores.top1 == stored["top1"]
    assert scores.nll == pytest.approx(stored["nll"], rel=1e-5)
    assert scores.count == stored["count"] == 539


def test_scores_depend_on_the_seed_of_the_noise_alone(digits_run: Path) -> None:
    predictor = load(digits_run)
    setting = Setting(predictor.inference.replace(read_out="last", steps=2, sampler="gibbs"))

    def nll(seed: int, **other: Setting) -> float:
        torch.rand(3)
        meters = _evaluator(predictor, seed).score({"x": setting, **other})
        return float(meters["x"].compute().nll)

    first = nll(0)
    assert nll(0) == first
    assert nll(0, another=Setting(predictor.inference)) == first
    assert nll(1) != first


def test_the_shares_of_all_ranks_are_every_batch_once(digits_run: Path) -> None:
    predictor = load(digits_run)
    settings = {"x": Setting(predictor.inference)}
    evaluator = _evaluator(predictor)
    parts = [
        [batch.labels for _, _, batch in evaluator.predict_batches(settings, (rank, 4))]
        for rank in range(4)
    ]
    labels = torch.cat([label for part in parts for label in part])
    assert len(parts[0]) > 0
    assert torch.equal(labels, evaluator.images.labels)
