from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from addkit.diffusion import Answer, counted_generator
from addkit.distributed.world import World
from addkit.evaluation import batches
from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import Predictor, build_data, load
from addkit.plugin.values import Batch
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


@dataclass(frozen=True)
class _Ranks(World):
    """One of two ranks, which gathers what the other one has computed before."""

    others: tuple[Any, ...] = ()

    def all_gather(self, value: Any) -> list[Any]:
        return [value, *self.others]


def test_ranks_together_have_the_scores_of_one_process(digits_run: Path) -> None:
    predictor = load(digits_run)
    # Drawn labels: a batch with the noise of another one would be answered otherwise.
    inference = predictor.inference.replace(read_out="last", steps=2, sampler="gibbs")
    settings, evaluator = {"x": Setting(inference)}, _evaluator(predictor)
    whole = evaluator.score(settings)["x"]
    second = replace(evaluator, world=_Ranks(1, 2)).score(settings)
    ranks = _Ranks(0, 2, others=((0, second),))
    both = replace(evaluator, world=ranks).score(settings)["x"]
    assert asdict(both.compute()) == pytest.approx(asdict(whole.compute()), rel=1e-5)
    assert torch.equal(both.correct, whole.correct)


def test_without_its_image_every_answer_is_the_same(digits_run: Path) -> None:
    predictor = load(digits_run)
    one, blind = (Setting(predictor.inference, no_image=x) for x in (False, True))
    # Whatever mode an earlier user has left the network in.
    predictor.network.train()
    answers = list(_evaluator(predictor).predict_batches({"one": one, "blind": blind}))
    assert not predictor.network.training
    (_, seen, _), (_, unseen, _) = answers[:2]
    assert len(seen.probabilities.unique(dim=0)) > 1
    torch.testing.assert_close(
        unseen.probabilities, unseen.probabilities[:1].expand_as(unseen.probabilities)
    )


def test_the_shortest_of_the_best_chains_is_chosen(
    digits_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Scores:
        top1: float

    values = {1: 90.0, 2: 91.0, 5: 95.0, 10: 95.0, 20: 80.0}

    def score(self: Evaluator, settings: dict[str, Setting]) -> dict[str, Any]:
        steps = {name: each.inference.steps for name, each in settings.items()}
        return {
            name: SimpleNamespace(compute=lambda n=n: Scores(values[n]))
            for name, n in steps.items()
        }

    monkeypatch.setattr(Evaluator, "score", score)
    predictor = load(digits_run)
    inference = predictor.inference.replace(read_out="last")
    chosen = _evaluator(predictor).best_steps(lambda n: inference.replace(steps=n), "top1")
    assert chosen == (5, values)


class _Settings:
    """Inference settings that record with what they are asked."""

    def __init__(self, *, one_pass: bool) -> None:
        self.one_pass = one_pass
        self.evidence = False
        self.asked: list[tuple[int, bool]] = []
        """For each batch the seed of its noise, and whether it had the null condition."""

    def answer(
        self, diffusion: Any, condition: torch.Tensor, noise: torch.Generator, *, evidence: Any
    ) -> Answer:
        assert evidence is ("votes" if self.evidence else None)
        self.asked.append((noise.initial_seed(), bool((condition == 0).all())))
        empty = torch.zeros(len(condition), 1)
        names = ("labels", "probabilities", "votes", "steps", "candidates", "confidence", "scores")
        return Answer(**dict.fromkeys(names, empty))

    def product_log_p(self, answer: Answer, labels: torch.Tensor) -> torch.Tensor:
        return torch.full((len(labels),), -1.0)

    def truth_log_p(self, diffusion: Any, condition: torch.Tensor, labels: Any) -> torch.Tensor:
        return condition.mean((1, 2))


def test_what_each_setting_is_asked_with(monkeypatch: pytest.MonkeyPatch) -> None:
    sides, seeds = [], []

    def load(images: Any, slices: Any, seed: int | None, workers: int) -> Any:
        seeds.append(seed)
        return [
            Batch(images[s], torch.zeros(len(s), 1), tuple(s), side_inputs="side", evidence="votes")
            for s in slices
        ]

    def condition(images: torch.Tensor, side_inputs: Any) -> torch.Tensor:
        sides.append(side_inputs)
        return images.view(-1, 1, 1)

    monkeypatch.setattr(batches, "load", load)
    diffusion = SimpleNamespace(
        null_token=torch.zeros(1), null_condition=lambda length: torch.zeros(1, length, 1)
    )
    network: Any = SimpleNamespace(diffusion=diffusion, condition=condition, eval=lambda: None)
    images: Any = torch.arange(1.0, 6)
    evaluator = Evaluator(network=network, images=images, task=None, batch_size=2, seed=7)  # type: ignore[arg-type]
    chain, once = _Settings(one_pass=False), _Settings(one_pass=True)
    once.evidence = True
    settings: dict[str, Any] = {
        "chain": Setting(chain),  # type: ignore[arg-type]
        "blind": Setting(chain, no_image=True),  # type: ignore[arg-type]
        "once": Setting(once),  # type: ignore[arg-type]
    }
    truths: dict[str, list[float]] = {name: [] for name in settings}
    for name, answer, _ in evaluator.predict_batches(settings):
        assert answer.truth_log_p is not None
        truths[name] += answer.truth_log_p.tolist()
    # Images as they are: no augmentation is drawn.
    assert (seeds, sides) == ([None], ["side"] * 3)
    noise = [counted_generator(7, "evaluate", number).initial_seed() for number in range(3)]
    assert len(set(noise)) == 3
    assert once.asked == [(seed, False) for seed in noise]
    assert chain.asked == [(seed, blind) for seed in noise for blind in (False, True)]
    # Exact likelihoods of what the network was given; one pass has that of its own product.
    assert truths == {"chain": [1, 2, 3, 4, 5], "blind": [0] * 5, "once": [-1] * 5}
