"""log p of a caption up to its end, and the perplexity that follows from it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from addkit.evaluation.results import Score
from addkit.model.inference import Inference
from addkit.plugin import Choice, Problem, load_registry
from addkit.plugin.values import Answer, Batch
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.processes.blocks import BlocksProcess
from addkit.processes.masked import MaskedProcess
from addkit.tasks.captioning import CaptionMeter
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words

from ..diffusion.networks import condition_of, generator, network

IMAGES, N, K, PAD = 2, 3, 3, 0
PROCESSES = {
    "gaussian": None,
    "masked": MaskedProcess("none"),
    "blocks": BlocksProcess(1),
    "autoregressive": AutoregressiveProcess(PAD),
}


def _inference(read_out: str = "last") -> Inference:
    def chosen(kind: str, name: str) -> Choice:
        spec = load_registry().get(kind, name).spec
        return Choice(spec, spec.settings())

    return Inference(
        process=chosen("process", "gaussian"),
        sampler=chosen("sampler", "renoise"),
        to_one=chosen("to_one", "argmax"),
        read_out=chosen("read_out", read_out),
        problem=Problem(num_classes=K, num_tokens=N, pad=PAD),
        steps=1,
        guidance=1.0,
        chains=1,
        early_exit=0,
    )


def _captions() -> Tensor:
    """Every caption of up to N words, pads behind its end."""
    rows = torch.tensor(list(itertools.product(range(K), repeat=N)))
    pads = (rows == PAD).long()
    return rows[((pads.cumsum(-1) > 0) <= (pads > 0)).all(-1)]


@pytest.mark.parametrize("lengths", [False, True], ids=["pads diffuse", "a length is predicted"])
@pytest.mark.parametrize("name", PROCESSES)
def test_the_probabilities_of_all_captions_sum_to_one(name: str, lengths: bool) -> None:
    sizes = {"num_classes": K, "num_tokens": N, "spread": 0.6, "lengths": lengths}
    model = network(PROCESSES[name], **sizes).requires_grad_(False)
    captions = _captions()
    if lengths:
        # A caption without words is no answer there; and words are no pads.
        captions = captions[captions[:, 0] != PAD]
        model.output.bias[PAD] = -1e4
    condition, inference = condition_of(IMAGES), _inference()
    log_p = [
        inference.truth_log_p(model, condition, caption.expand(IMAGES, -1)) for caption in captions
    ]
    torch.testing.assert_close(torch.stack(log_p).exp().sum(0), torch.ones(IMAGES))


def test_one_pass_multiplies_the_tokens_up_to_the_end() -> None:
    model = network(None, num_classes=K, num_tokens=N, spread=0.6).requires_grad_(False)
    inference = _inference("one-pass")
    answer = inference.answer(model, condition_of(IMAGES), generator())
    labels = torch.tensor([[1, PAD, PAD], [2, 1, 1]])
    log_p = inference.product_log_p(answer, labels)
    p = answer.probabilities
    by_hand = [p[0, 0, 1] * p[0, 1, PAD], p[1, 0, 2] * p[1, 1, 1] * p[1, 2, 1]]
    torch.testing.assert_close(log_p.exp(), torch.stack(by_hand))


def _meter(labels: Tensor, log_p: Tensor | None) -> CaptionMeter:
    words = Words(WordsConfig()).restore(("<pad>", "<unk>", "a", "b"))
    blank = torch.zeros(len(labels), N, 4)
    answer = Answer(
        labels=labels,
        probabilities=blank,
        votes=blank,
        steps=torch.ones(len(labels)),
        candidates=labels[:, None],
        confidence=blank,
        scores=blank,
        truth_log_p=log_p,
    )
    meter = CaptionMeter(words, PAD)
    meter.update(answer, Batch(blank, labels, (0,) * len(labels)))
    return meter


def test_perplexity_counts_words_and_ends() -> None:
    """A uniform choice among 4 tokens has perplexity 4, whatever the lengths and the batches."""
    labels = torch.tensor([[2, PAD, PAD], [2, 3, 2], [3, 2, PAD]])
    log_p = -math.log(4) * torch.tensor([2.0, 3.0, 3.0])
    whole, first = _meter(labels, log_p), _meter(labels[:1], log_p[:1])
    first.merge(_meter(labels[1:], log_p[1:]))
    assert whole.compute().perplexity == pytest.approx(4)
    assert first.compute().perplexity == pytest.approx(4)
    assert Score.named("perplexity").text(4.0) == "4.00"


@pytest.mark.parametrize(
    "log_p", [None, torch.tensor([-torch.inf])], ids=["no likelihood", "p = 0"]
)
def test_no_perplexity_without_a_probability(log_p: Tensor | None) -> None:
    assert _meter(torch.tensor([[2, PAD, PAD]]), log_p).compute().perplexity is None
