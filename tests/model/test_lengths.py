"""How an answer is asked for: what is given, and how long it is where pads do not exist."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import FREE, LabelDiffusion, Layout
from addkit.model.inference import Inference
from addkit.plugin import Problem, load_registry
from addkit.plugin.spec import Choice
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.processes.blocks import BlocksProcess

from ..diffusion.networks import condition_of, generator, network

IMAGES, N, K, PAD = 5, 6, 7, 2
PROBLEM = Problem(num_classes=K, num_tokens=N, pad=PAD)


def _choice(kind: str, name: str, **settings: Any) -> Choice:
    spec = load_registry().get(kind, name).spec
    return Choice(spec, spec.settings.model_validate(settings))


def _inference(
    sampler: str = "renoise", read_out: str = "consensus", process: str = "gaussian", **more: Any
) -> Inference:
    numbers = {"steps": 3, "guidance": 1.0, "chains": 4, "early_exit": 0, "length_candidates": 3}
    return Inference(
        process=_choice("process", process),
        sampler=_choice("sampler", sampler),
        to_one=_choice("to_one", "argmax"),
        read_out=_choice("read_out", read_out),
        problem=PROBLEM,
        **(numbers | more),
    )


def _model(process: Any = None, *, lengths: bool = True) -> LabelDiffusion:
    model = network(process, num_classes=K, num_tokens=N, lengths=lengths, spread=0.4)
    return model.requires_grad_(False)


def _lengths(labels: Tensor) -> Tensor:
    """How many words come before the first pad, and no word after it."""
    words = labels != PAD
    assert torch.equal(words, words.cummin(-1).values)
    return words.sum(-1)


CASES = {
    "renoise": (None, "renoise", "gaussian"),
    "ddim": (None, "ddim", "gaussian"),
    "refine": (None, "refine", "gaussian"),
    "maskgit": (None, "maskgit", "gaussian"),
    "masked": (None, "left-to-right", "masked"),
    "blocks": (BlocksProcess(4), "renoise", "blocks"),
    "autoregressive": (AutoregressiveProcess(PAD), "left-to-right", "autoregressive"),
}


@pytest.mark.parametrize("chains", [1, 2, 4, 7])
@pytest.mark.parametrize("name", CASES)
def test_chains_take_the_likeliest_lengths_in_turn(name: str, chains: int) -> None:
    process, sampler, kind = CASES[name]
    model, inference = _model(process), _inference(sampler, process=kind, chains=chains)
    told = inference.trace(model, condition_of(IMAGES), generator())[-1]
    log_p = model.length_logits(condition_of(IMAGES))[:, 1:].log_softmax(-1)
    best = log_p.topk(min(3, chains))
    turn = torch.arange(chains) % best.indices.shape[1]
    assert torch.equal(_lengths(told.clean.ids), best.indices[:, turn] + 1)
    torch.testing.assert_close(told.prior, best.values[:, turn])
    pads = told.clean.ids == PAD
    assert (told.logits.softmax(-1)[pads][:, PAD] == 1).all()
    assert told.logits.softmax(-1)[~pads][:, PAD].max() < 1e-6


def test_an_empty_caption_is_never_tried() -> None:
    model = _model()
    model.length_head.bias[0] = 50
    told = _inference(chains=9).trace(model, condition_of(IMAGES), generator())[-1]
    assert _lengths(told.clean.ids).min() >= 1


def test_a_beam_keeps_to_the_likeliest_length() -> None:
    model = _model(AutoregressiveProcess(PAD))
    inference = _inference("beam", "last", "autoregressive", chains=2)
    answer = inference.answer(model, condition_of(IMAGES), generator())
    best = model.length_logits(condition_of(IMAGES))[:, 1:].argmax(-1) + 1
    assert torch.equal(_lengths(answer.candidates), best.unsqueeze(1).expand(-1, 5))
    assert torch.equal(answer.labels, answer.candidates[:, 0])


@pytest.mark.parametrize("read_out", ["consensus", "likelihood"])
def test_whole_answers_are_ranked_with_their_lengths(read_out: str) -> None:
    model, inference = _model(), _inference(read_out=read_out)
    answer = inference.answer(model, condition_of(IMAGES), generator())
    if read_out == "likelihood":
        labels = answer.candidates
        log_p = model.process.likelihood(
            model, model.prepare(condition_of(IMAGES)), labels, labels != PAD
        )
        lengths = model.length_logits(condition_of(IMAGES))[:, 1:].log_softmax(-1)
        prior = lengths.gather(1, _lengths(labels) - 1)
        torch.testing.assert_close(answer.scores, log_p + prior, atol=1e-4, rtol=1e-4)
    assert (answer.scores.diff(dim=1) <= 0).all()


def test_the_likelihood_of_diffused_pads_counts_them() -> None:
    model, inference = _model(lengths=False), _inference(read_out="likelihood")
    answer = inference.answer(model, condition_of(IMAGES), generator())
    log_p = model.process.likelihood(model, model.prepare(condition_of(IMAGES)), answer.candidates)
    torch.testing.assert_close(answer.scores, log_p, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_template_holds_and_its_free_tokens_are_words(name: str, lengths: bool) -> None:
    process, sampler, kind = CASES[name]
    given = torch.tensor([FREE, 4, FREE, FREE, PAD, PAD])
    inference = _inference(sampler, process=kind, given=given)
    answer = inference.answer(_model(process, lengths=lengths), condition_of(IMAGES), generator())
    assert (answer.candidates[..., 1] == 4).all()
    assert (_lengths(answer.candidates) == 4).all()


def test_a_given_length_hides_what_lies_behind_it() -> None:
    """One step from zero: the pass over so many tokens, the others not seen."""
    model = _model()
    given = torch.tensor([FREE] * 3 + [PAD] * 3)
    inference = _inference("refine", steps=1, chains=1, given=given)
    (step,) = inference.trace(model, condition_of(IMAGES), generator())
    state = model.read(torch.zeros(IMAGES, 1, 3, K), torch.zeros(1, 1, 1))
    layout = Layout(places=torch.arange(3))
    features = model.features(
        state, torch.ones(1, 1, 1), model.prepare(condition_of(IMAGES)), layout
    )
    wanted = model.outputs(features)
    words = torch.arange(K) != PAD
    torch.testing.assert_close(step.logits[:, :, :3, words], wanted[..., words], atol=1e-4, rtol=0)


def test_without_a_length_head_nobody_is_told_a_length() -> None:
    told = _inference().trace(_model(lengths=False), condition_of(IMAGES), generator())[-1]
    assert told.prior is None
