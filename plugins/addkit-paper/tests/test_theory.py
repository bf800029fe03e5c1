from __future__ import annotations

from pathlib import Path

import pytest
import torch
from addkit_paper.theory import RESULTS, named, one_label, signal
from addkit_paper.theory.findings import Finding, Measurement, Result

from addkit.diffusion import Clean, noised, probability_arg_max
from addkit.errors import UsageError
from addkit.testing.exact_models import GaussianClasses, Levels, exact_denoiser, expected_accuracy

DOCS = Path(__file__).parents[3] / "docs" / "theory.md"


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.name)
def test_every_result_holds(result: Result) -> None:
    finding = result.find()
    assert finding.measurements
    assert finding.holds, [one for one in finding.measurements if not one.holds]


def test_the_docs_name_the_command_of_each_result() -> None:
    text = DOCS.read_text("utf-8")
    assert [name for name in (c.name for c in RESULTS) if f"addkit theory {name}" not in text] == []


def test_results_have_names_of_their_own() -> None:
    assert len({result.name for result in RESULTS}) == len(RESULTS) == 10
    assert named([]) == list(RESULTS)
    assert [result.name for result in named(["drift", "no-gain"])] == ["drift", "no-gain"]


def test_an_unknown_result_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r'"flip-low" \(did you mean "flip-law"\?\). Known: no-gain'
    ):
        named(["flip-low"])


@pytest.mark.parametrize(
    ("relation", "measured", "holds"),
    [
        ("=", 1.05, True),
        ("=", 1.2, False),
        ("=", 0.8, False),
        ("<=", -5.0, True),
        ("<=", 1.05, True),
        ("<=", 1.2, False),
        (">=", 5.0, True),
        (">=", 0.95, True),
        (">=", 0.8, False),
        ("=", float("nan"), False),
        ("<=", float("nan"), False),
        (">=", float("nan"), False),
    ],
)
def test_a_measurement_holds_within_its_tolerance(relation, measured: float, holds: bool) -> None:
    one = Measurement("x", 1.0, measured, 0.1, relation)
    assert one.holds is holds
    finding = Finding(Result("x", "X.", "x = 1", list), (one, Measurement("y", 0, 0, 0)))
    assert finding.holds is holds
    assert finding.data()["measurements"][0]["holds"] is holds


# Faults that the checks must see.


def test_a_wrong_flip_law_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(one_label, "flip_probability", lambda d, m: torch.special.ndtr(-(d + m)))
    found = {
        result.name: result.find().holds for result in named(["flip-law", "drift", "guidance"])
    }
    assert found == {"flip-law": False, "drift": False, "guidance": False}


def test_coins_that_know_the_label_are_seen(monkeypatch) -> None:
    """Labels that follow the chain's answers, so that it is right each time."""
    answers = one_label._Ten.make().answers(steps=one_label.STEPS)
    told = Clean(answers.expand(50, -1))
    monkeypatch.setattr(one_label, "draw_labels", lambda logits, source: told)
    found = one_label.RESULTS[0].find().measurements
    assert found[1].what == "renoise: against E max p"
    assert found[1].measured == 1
    assert not found[0].holds and not found[1].holds


def test_a_wrong_arg_max_law_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(signal, "probability_arg_max", lambda m, k: probability_arg_max(m, k // 3))
    assert not signal.RESULTS[2].find().holds


def test_the_exact_denoiser_is_the_prior_plus_the_evidence() -> None:
    model = exact_denoiser(3, Levels(lambda t: torch.full_like(t, 0.5)))
    log_p = torch.tensor([[0.5, 0.3, 0.2]]).log()
    clean = torch.eye(3).view(3, 1, 1, 3)
    y_t = noised(clean, torch.zeros(1), torch.tensor(0.5), 1.0).y_t
    state = model.read(y_t, torch.full((1, 1, 1), 0.5))
    logits = model(state, torch.full((1, 1, 1), 0.5), model.prepare(log_p.unsqueeze(1)))
    expected = log_p + torch.eye(3)  # c_t y_t = sqrt(1/2) / (1/2) sqrt(1/2) = 1
    torch.testing.assert_close(logits[:, 0, 0], expected)


def test_expected_accuracy_is_the_answers_mean_chance() -> None:
    posterior = torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    assert expected_accuracy(posterior, torch.tensor([0, 0])) == pytest.approx(0.55)


def test_gaussian_classes_are_as_hard_as_asked() -> None:
    problem = GaussianClasses.of(5, 8, 0.7)
    points, labels = problem.draw(20000, torch.Generator().manual_seed(1))
    right = (problem.log_posterior(points).argmax(-1) == labels).double().mean()
    assert float(right) == pytest.approx(0.7, abs=0.013)  # four standard errors
