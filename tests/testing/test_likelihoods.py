"""Likelihoods are exact whatever a network is made of."""

from __future__ import annotations

import itertools

import pytest

from addkit.plugin import load_registry
from addkit.testing.fixed_inputs import likelihoods_sum_to_one, network_of
from addkit.testing.small_problem import SEVERAL, Bench, Example, SkippedError

REGISTRY = load_registry()
WIDTH = 16
EXAMPLE = Example(
    settings={},
    facts={**SEVERAL, "state_width": WIDTH, "num_classes": 3, "class_names": ("a", "b", "c")},
)
SMALL = Example(settings={"width": WIDTH, "depth": 1, "heads": 2}, facts=EXAMPLE.facts)


def _all(kind: str, example: Example = EXAMPLE) -> dict[str, Bench]:
    return {name: Bench(REGISTRY.get(kind, name), example) for name in REGISTRY.names(kind)}


DENOISERS = {
    name: each for name, each in _all("denoiser", SMALL).items() if "joint" in each.provides
}


@pytest.mark.parametrize("embedding", REGISTRY.names("embedding"))
@pytest.mark.parametrize("process", REGISTRY.names("process"))
def test_the_probabilities_of_all_answers_sum_to_one(process: str, embedding: str) -> None:
    made = 0
    for schedule, denoiser in itertools.product(_all("schedule").values(), DENOISERS.values()):
        for block in ({"block": 1}, {}) if process == "blocks" else ({},):
            bench = Bench(
                REGISTRY.get("process", process), Example(settings=block, facts=EXAMPLE.facts)
            )
            network = network_of(
                bench.build(),
                3,
                3,
                WIDTH,
                embedding=_all("embedding")[embedding].build(),
                denoiser=denoiser.build(),
                schedule=schedule.build(),
            )
            try:
                likelihoods_sum_to_one(network)
            except SkippedError:
                continue
            made += 1
    assert made >= 4
