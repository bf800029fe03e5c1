from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from addkit.diffusion import ChainStep, Clean

PROBABILITIES = torch.tensor(
    [
        # two images, each three steps of two chains over three classes
        [[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], [[0.2, 0.5, 0.3], [0.4, 0.5, 0.1]]],
        [[[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], [[0.2, 0.5, 0.3], [0.4, 0.5, 0.1]]],
        [[[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], [[0.2, 0.5, 0.3], [0.4, 0.5, 0.1]]],
    ]
)
"""(steps, images, chains, K); the second image left after its first step."""
EXITED = torch.tensor([[False, False], [False, True], [False, True]])


def _steps() -> Iterator[ChainStep]:
    for index, (probabilities, exited) in enumerate(zip(PROBABILITIES, EXITED, strict=True)):
        logits = probabilities.log().unsqueeze(2) + 3.0
        yield ChainStep(index, 1 - index / 3, logits, Clean(logits.argmax(-1)), exited)


def _answer(build, name: str) -> Tensor:
    answer = build("read_out", name).read(_steps())
    assert answer.probabilities.shape == (2, 1, 3)
    torch.testing.assert_close(answer.probabilities.sum(-1), torch.ones(2, 1))
    torch.testing.assert_close(
        answer.votes.squeeze(1), torch.tensor([[0.0, 0.5, 0.5], [0.0, 1.0, 0.0]])
    )
    assert answer.steps.tolist() == [3, 1]
    assert torch.equal(answer.labels, answer.probabilities.argmax(-1))
    return answer.probabilities.squeeze(1)


@pytest.mark.parametrize("name", ["last", "one-pass"])
def test_last_is_the_mean_of_the_chains_last_predictions(build, name: str) -> None:
    expected = torch.tensor([[0.1, 0.45, 0.45], [0.3, 0.5, 0.2]])
    torch.testing.assert_close(_answer(build, name), expected)


def test_mean_takes_every_step_until_an_image_left(build) -> None:
    first = (0.7 + 0.1 + 0.6 + 0.2 + 0.1 + 0.1) / 6
    second = (0.2 + 0.6 + 0.3 + 0.5 + 0.8 + 0.1) / 6
    expected = torch.tensor([[first, second, 1 - first - second], [0.3, 0.5, 0.2]])
    torch.testing.assert_close(_answer(build, "mean"), expected)


def test_vote_adds_one_vote_spread_over_all_classes(build) -> None:
    third = 1 / 3
    expected = torch.tensor(
        [[third / 3, (1 + third) / 3, (1 + third) / 3], [third / 3, (2 + third) / 3, third / 3]]
    )
    torch.testing.assert_close(_answer(build, "vote"), expected)


def test_one_pass_starts_from_zero_and_the_others_from_noise(build) -> None:
    told = {
        name: (build("read_out", name).start, build("read_out", name).max_steps)
        for name in ("last", "mean", "vote", "one-pass")
    }
    assert told.pop("one-pass") == ("zero", 1)
    assert set(told.values()) == {("noise", None)}


@pytest.mark.parametrize("name", ["last", "mean", "vote", "one-pass"])
def test_read_outs_keep_tokens_apart(build, name: str) -> None:
    logits = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    exited = torch.zeros(4, dtype=torch.bool)
    step = ChainStep(0, 1.0, logits, Clean(logits.argmax(-1)), exited)
    answer = build("read_out", name).read([step])
    for token in range(5):
        own = slice(token, token + 1)
        part = ChainStep(0, 1.0, logits[:, :, own], Clean(step.clean.ids[:, :, own]), exited)
        alone = build("read_out", name).read([part])
        torch.testing.assert_close(answer.probabilities[:, token], alone.probabilities[:, 0])
        torch.testing.assert_close(answer.votes[:, token], alone.votes[:, 0])


def test_votes_are_of_predictions_and_not_of_labels_fed_back(build) -> None:
    logits = torch.tensor([[[[2.0, 0.0, 1.0]], [[0.0, 3.0, 1.0]]]])  # (1, 2, 1, 3)
    step = ChainStep(0, 1.0, logits, Clean(torch.full((1, 2, 1), 2)), torch.tensor([False]))
    answer = build("read_out", "last").read([step])
    assert answer.votes.tolist() == [[[0.5, 0.5, 0.0]]]
    assert answer.candidates.tolist() == [[[2], [2]]]
    sure = logits.softmax(-1)[..., 2]
    torch.testing.assert_close(answer.confidence, sure)


def test_steps_after_an_exit_do_not_count_in_the_mean(build) -> None:
    logits = torch.tensor([[[[2.0, 0.0]]], [[[0.0, 5.0]]]])  # Two steps of one chain.
    steps = [
        ChainStep(k, 1.0, each.unsqueeze(0), Clean(each.argmax(-1)[None]), torch.tensor([k == 1]))
        for k, each in enumerate(logits)
    ]
    answer = build("read_out", "mean").read(steps)
    torch.testing.assert_close(answer.probabilities, logits[0].softmax(-1))


def test_a_chains_own_score_is_log_p_of_its_whole_answer(build) -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    ids = logits.argmax(-1)
    step = ChainStep(0, 1.0, logits, Clean(ids), torch.zeros(2, dtype=torch.bool))
    answer = build("read_out", "last").read([step])
    own = logits.log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1).sum(-1)
    torch.testing.assert_close(answer.scores, own)


def test_a_search_answers_with_its_first_answer_and_not_token_by_token(build) -> None:
    ids = torch.tensor([[[0, 0], [0, 1], [1, 1]]])
    logits = 3.0 * torch.nn.functional.one_hot(ids, 2)
    scores = torch.tensor([[-1.0, -2.0, -3.0]])
    step = ChainStep(1, 0.5, logits, Clean(ids), torch.tensor([False]), scores=scores)
    answer = build("read_out", "last").read([step])
    assert answer.probabilities.argmax(-1).tolist() == [[0, 1]]
    assert answer.labels.tolist() == [[0, 0]]
    assert torch.equal(answer.scores, scores)


def test_the_mean_answers_with_its_own_most_probable_class(build) -> None:
    logits = torch.tensor([[[[3.0, 0.0]]], [[[0.0, 0.5]]]])  # Two steps of one chain.
    steps = [
        ChainStep(k, 1.0, each.unsqueeze(0), Clean(each.argmax(-1)[None]), torch.tensor([False]))
        for k, each in enumerate(logits)
    ]
    assert build("read_out", "last").read(steps).labels.tolist() == [[1]]
    assert build("read_out", "mean").read(steps).labels.tolist() == [[0]]


def test_each_answer_has_the_prior_of_its_length(build) -> None:
    ids = torch.tensor([[[0], [1]]])
    logits, prior = 2.0 * torch.nn.functional.one_hot(ids, 2), torch.tensor([[-1.0]])
    step = ChainStep(0, 1.0, logits, Clean(ids), torch.tensor([False]), prior=prior)
    assert build("read_out", "last").read([step]).prior.tolist() == [[-1.0, -1.0]]
