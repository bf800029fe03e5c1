"""What an answer is made by: the recipe's numbers, one pass or chains, and its likelihoods."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.diffusion import LabelDiffusion
from addkit.errors import RunError
from addkit.model.inference import Inference
from addkit.plugin import Choice, Problem, load_registry
from addkit.plugin.values import MISSING
from addkit.recipe import read_recipe

from ..diffusion.networks import condition_of, generator, network

IMAGES, N, K = 5, 6, 7
PROBLEM = Problem(num_classes=K, num_tokens=N, token_names=tuple("abcdef"))


def _inference(read_out: str = "last", **more: Any) -> Inference:
    def chosen(kind: str, name: str) -> Choice:
        spec = load_registry().get(kind, name).spec
        return Choice(spec, spec.settings())

    numbers = {"steps": 3, "guidance": 1.0, "chains": 4, "early_exit": 0}
    return Inference(
        process=chosen("process", "gaussian"),
        sampler=chosen("sampler", "renoise"),
        to_one=chosen("to_one", "argmax"),
        read_out=chosen("read_out", read_out),
        problem=PROBLEM,
        **(numbers | more),
    )


def _model() -> LabelDiffusion:
    return network(num_classes=K, num_tokens=N, spread=0.4).requires_grad_(False)


def _answer(inference: Inference, seed: int = 0) -> Any:
    return inference.answer(_model(), condition_of(IMAGES), generator(seed))


def test_one_pass_takes_one_step_of_one_chain_from_no_noise() -> None:
    inference = _inference("one-pass")
    one, other = _answer(inference, 1), _answer(inference, 2)
    assert torch.equal(one.probabilities, other.probabilities)
    assert one.candidates.shape == (IMAGES, 1, N)
    assert (one.steps == 1).all()
    made = one.inference
    assert (made.steps, made.chains, made.sampler, made.to_one) == (1, 1, None, None)


def test_chains_take_the_steps_that_they_say() -> None:
    answer = _answer(_inference())
    assert answer.candidates.shape == (IMAGES, 4, N)
    assert (answer.steps == 3).all()
    assert (answer.inference.steps, answer.inference.chains) == (3, 4)
    early = _answer(_inference(steps=12, chains=1, early_exit=1))
    assert (early.steps < 12).any()


def test_shuffled_chains_read_the_states_of_other_images() -> None:
    own, others = (_answer(replace(_inference(steps=6), shuffled=x)) for x in (False, True))
    assert not torch.equal(own.probabilities, others.probabilities)


def test_an_answer_that_is_not_finite_is_no_answer() -> None:
    model = _model()
    model.output.bias.fill_(torch.nan)
    with pytest.raises(RunError, match="not finite"):
        _inference().answer(model, condition_of(IMAGES), generator())


def test_steps_to_be_chosen_are_one_until_they_are(recipes: Path) -> None:
    recipe = read_recipe(recipes / "digits.toml", ["sampling.steps=auto"])
    assert Inference.of(recipe, PROBLEM).steps == 1
    assert Inference.of(recipe, PROBLEM, 7).steps == 7


def test_an_inference_has_the_recipes_numbers(recipes: Path) -> None:
    numbers = {"steps": 3, "guidance": 2.5, "chains": 4, "early_exit": 2}
    overrides = [f"sampling.{key}={value}" for key, value in numbers.items()]
    recipe = read_recipe(recipes / "digits.toml", [*overrides, "read_out.name=last"])
    inference = Inference.of(recipe, PROBLEM, 7)
    assert {key: getattr(inference, key) for key in numbers} == numbers
    assert asdict(inference.settings).items() >= numbers.items()


@pytest.mark.parametrize("read_out", ["last", "one-pass"])
def test_images_with_a_missing_value_have_no_likelihood(read_out: str) -> None:
    inference, model = _inference(read_out), _model()
    labels = torch.randint(K, (IMAGES, N), generator=generator(1))
    labels[1, 3] = labels[4, 0] = MISSING
    if read_out == "one-pass":
        answer = inference.answer(model, condition_of(IMAGES), generator())
        log_p = inference.product_log_p(answer, labels)
    else:
        log_p = inference.truth_log_p(model, condition_of(IMAGES), labels)
    assert log_p.isnan().tolist() == [False, True, False, False, True]
