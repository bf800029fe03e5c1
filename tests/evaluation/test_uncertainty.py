from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.errors import DataError, UsageError
from addkit.evaluation.batches import Evaluator, Setting
from addkit.evaluation.uncertainty import (
    VOTES,
    Uncertainty,
    _confidences,
    _Predicted,
    measure_uncertainty,
    needs_one_label,
    voting_chains,
)
from addkit.metrics.uncertainty import fit_temperature, tempered
from addkit.model import Predictor, build_data, load
from addkit.plugin.protocols import DataSource
from addkit.recipe import recipe_from_tables
from addkit.runs import Run

SPLIT = "test"
DRAWS = 50
NAMES = ["one-pass", "mean over chains", "vote share", "votes, smoothed"]


@pytest.fixture(scope="module")
def models(digits_run: Path) -> tuple[Predictor, dict[str, Predictor]]:
    controls = {
        f"control, {head}": load(run.path) for head, run in Run(digits_run).controls().items()
    }
    return load(digits_run), controls


def _source(predictor: Predictor, *overrides: str) -> DataSource:
    recipe = predictor.recipe
    return build_data(recipe_from_tables(recipe.tables(), recipe.source, overrides=overrides))


def _measure(models: Any, source: DataSource, split: str = SPLIT, **more: Any) -> Uncertainty:
    predictor, controls = models
    settings = {
        "inference": predictor.inference.replace(steps=3),
        "chains": 4,
        "seed": 0,
        "draws": DRAWS,
    }
    return measure_uncertainty(predictor, controls, source, split, **(settings | more))


@pytest.fixture(scope="module")
def uncertainty(models) -> Uncertainty:
    return _measure(models, _source(models[0]))


def test_a_row_for_each_confidence_plain_and_scaled(uncertainty: Uncertainty) -> None:
    titles = [(row.confidence, row.scaled) for row in uncertainty.rows]
    names = [*NAMES, "control, linear", "control, mlp"]
    expected = [(n, s) for n in names for s in (False, True) if (n, s) != ("vote share", True)]
    assert titles == expected
    for row in uncertainty.rows:
        assert row.count == 539
        assert row.ece_low >= 0
        assert row.aurc_low <= row.aurc <= row.aurc_high
        assert len(row.risk_coverage) == 20
        assert row.risk_coverage[-1].coverage == 1
        assert row.risk_coverage[-1].risk == pytest.approx(100 - row.top1)
        assert row.risk_coverage[15].risk == row.risk80
        assert 1 <= row.set_size <= 10
        assert sum(one.count for one in row.reliability) == 539


def test_unscaled_rows_have_the_scores_of_an_evaluation(models, uncertainty: Uncertainty) -> None:
    predictor, _ = models
    loop = predictor.inference.replace(read_out="vote", steps=3, chains=4)
    cases = {
        "one-pass": Setting(predictor.inference),
        "votes, smoothed": Setting(loop),
        "mean over chains": Setting(loop.replace(read_out="last")),
    }
    images = _source(predictor).split(SPLIT)
    meters = Evaluator.for_predictor(predictor, images, seed=0).score(cases)
    rows = {row.confidence: row for row in uncertainty.rows if not row.scaled}
    for name, meter in meters.items():
        scores = meter.compute()
        for key in ("top1", "nll", "brier", "ece"):
            assert getattr(rows[name], key) == pytest.approx(getattr(scores, key), rel=1e-4)


def test_without_a_validation_split_halves_scale_each_other(uncertainty: Uncertainty) -> None:
    assert uncertainty.temperature_from == "the other half of the test split"
    for row in uncertainty.rows:
        assert len(row.temperatures) == (2 if row.scaled else 0)


def _sharpened(images: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels that are drawn from their softmax."""
    logits = torch.randn(images, 3, generator=torch.Generator().manual_seed(0)) * 2
    drawn = logits.softmax(1).multinomial(1, generator=torch.Generator().manual_seed(1))
    return logits, drawn.squeeze(1)


def test_each_half_is_scaled_by_the_temperature_of_the_other() -> None:
    logits, labels = _sharpened()
    # Even images are right at temperature 2, odd ones at 1/2.
    power = torch.tensor([2.0, 0.5]).repeat(2000)[:, None]
    tested = _Predicted({"it": (power * logits).softmax(1), VOTES: logits.softmax(1)}, labels)
    plain, scaled, votes = _confidences(tested, None)
    assert (plain.temperatures, votes.temperatures) == ((), ())
    assert scaled.temperatures == pytest.approx((0.5, 2.0), rel=0.15)
    p = tested.probabilities["it"]
    for half, temperature in enumerate(scaled.temperatures):
        torch.testing.assert_close(scaled.probabilities[half::2], tempered(p[half::2], temperature))
    assert float(scaled.confidence.ece()) > float(plain.confidence.ece())


def test_held_out_images_give_the_temperature_of_all() -> None:
    logits, labels = _sharpened()
    tested = _Predicted({"it": logits.softmax(1)}, labels)
    held_out = _Predicted({"it": (3 * logits).softmax(1)}, labels)
    _, scaled = _confidences(tested, held_out)
    assert scaled.temperatures == pytest.approx((3.0,), rel=0.15)
    torch.testing.assert_close(
        scaled.probabilities, tempered(tested.probabilities["it"], scaled.temperatures[0])
    )


def test_scaling_keeps_the_answers(uncertainty: Uncertainty) -> None:
    plain = {row.confidence: row for row in uncertainty.rows if not row.scaled}
    for row in uncertainty.rows:
        assert row.top1 == pytest.approx(plain[row.confidence].top1, abs=0.4)


def test_a_validation_split_gives_one_temperature(models) -> None:
    source = _source(models[0], "data.validation=0.2")
    uncertainty = _measure(models, source)
    assert uncertainty.temperature_from == "the validation split"
    predictor = models[0]
    evaluator = Evaluator.for_predictor(predictor, source.split("validation"), seed=0)
    answers = list(evaluator.predict_batches({"it": Setting(predictor.inference)}))
    probabilities = torch.cat([answer.probabilities.squeeze(1) for _, answer, _ in answers])
    labels = torch.cat([batch.labels.squeeze(1) for *_, batch in answers])
    fitted = [list(row.temperatures) for row in uncertainty.rows if row.scaled]
    assert fitted[0] == pytest.approx([fit_temperature(probabilities, labels)], rel=1e-4)
    assert {len(temperatures) for temperatures in fitted} == {1}
    other = _measure(models, source, "validation")
    assert other.temperature_from == "the other half of the validation split"


def test_comparisons_are_of_the_vote_share_with_what_has_no_chains(
    uncertainty: Uncertainty,
) -> None:
    assert [(one.against, one.scaled, one.score) for one in uncertainty.comparisons] == [
        (name, scaled, score)
        for name in ("one-pass", "control, linear", "control, mlp")
        for scaled in (False, True)
        for score in ("ece", "aurc")
    ]
    rows = {(row.confidence, row.scaled): row for row in uncertainty.rows}
    votes = rows["vote share", False]
    for one in uncertainty.comparisons:
        other = rows[one.against, one.scaled]
        expected = getattr(votes, one.score) - getattr(other, one.score)
        assert one.difference == pytest.approx(expected)
        assert one.n == 539
        sure = not one.low <= 0 <= one.high
        assert (one.verdict == "not distinguishable") is not sure
        if sure:
            assert one.verdict == ("better" if one.high < 0 else "worse")
    assert any(one.verdict == "worse" for one in uncertainty.comparisons)


def test_the_same_seed_finds_the_same(models, uncertainty: Uncertainty) -> None:
    assert _measure(models, _source(models[0])) == uncertainty
    assert _measure(models, _source(models[0]), seed=1) != uncertainty


def test_a_read_out_of_its_own_is_named(models) -> None:
    inference = models[0].inference.replace(read_out="last", steps=2)
    uncertainty = _measure(models, _source(models[0]), inference=inference)
    assert uncertainty.rows[0].confidence == "last"
    assert (uncertainty.chains, uncertainty.steps) == (4, 2)


def test_which_chains_are_counted(models) -> None:
    inference = models[0].inference
    assert inference.one_pass
    loop = voting_chains(inference.replace(steps=7, early_exit=2), None)
    assert (loop.chains, loop.steps, loop.early_exit) == (10, 7, 0)
    assert loop.read_out.name == "last"
    several = inference.replace(read_out="vote", steps=7, sampler="ddim")
    loop = voting_chains(several, 3)
    assert (loop.chains, loop.steps, loop.sampler.name) == (3, 7, "ddim")
    assert voting_chains(several.replace(steps=1), 3).steps == 20


def test_one_image_has_no_spread(models) -> None:
    class OneImage:
        facts = models[0].facts

        def split(self, name: str) -> torch.Tensor:
            return torch.zeros(1)

    with pytest.raises(DataError) as caught:
        _measure(models, OneImage())  # type: ignore[arg-type]
    assert str(caught.value) == "1 images have no spread; --uncertainty needs at least 2"


def test_several_labels_are_refused(models) -> None:
    predictor = models[0]
    needs_one_label(predictor)
    several = Predictor.__new__(Predictor)
    several.facts = replace(predictor.facts, num_tokens=4)
    with pytest.raises(UsageError) as caught:
        needs_one_label(several)
    assert str(caught.value) == (
        "--uncertainty compares confidences of one label, and this run has 4 for each image"
    )


def test_controls_answer_with_their_own_settings(models, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Setting]] = []
    predict = Evaluator.predict_batches

    def recorded(self: Evaluator, settings: dict[str, Setting], *share: Any) -> Any:
        asked.append(settings)
        return predict(self, settings, *share)

    monkeypatch.setattr(Evaluator, "predict_batches", recorded)
    _measure(models, _source(models[0]))
    predictor, controls = models
    assert asked[1:] == [{name: Setting(each.inference)} for name, each in controls.items()]
    assert predictor.inference.replace(steps=3) in [each.inference for each in asked[0].values()]
