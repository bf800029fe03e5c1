"""Read-outs that choose among whole answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from addkit.diffusion import ChainStep, Clean
from addkit.read_outs.whole import Consensus, Likelihood, agreement

CAT, DOG, EMU = range(3)


def _step(labels: list[list[int]] | Tensor, logits: Tensor | None = None, **more) -> ChainStep:
    """Chains of one image, or of several."""
    ids = torch.as_tensor(labels)
    ids = ids if ids.ndim == 3 else ids.unsqueeze(0)
    if logits is None:
        logits = 4.0 * torch.nn.functional.one_hot(ids, 5)
    return ChainStep(2, 0.3, logits, Clean(ids), torch.zeros(len(ids), dtype=torch.bool), **more)


def test_agreement_by_hand() -> None:
    labels = torch.tensor([[[0, 1, 2], [0, 1, 2], [1, 2, 3], [0, 0, 1], [3, 3, 3]]])
    # Tokens in common of 3, pairs of neighbours in common of 2.
    common = torch.tensor(
        [
            [3, 3, 2, 2, 0],
            [3, 3, 2, 2, 0],
            [2, 2, 3, 1, 1],
            [2, 2, 1, 3, 0],
            [0, 0, 1, 0, 3],
        ]
    )
    pairs = torch.tensor(
        [
            [2, 2, 1, 1, 0],
            [2, 2, 1, 1, 0],
            [1, 1, 2, 0, 0],
            [1, 1, 0, 2, 0],
            [0, 0, 0, 0, 2],
        ]
    )
    equal = torch.eye(5, dtype=torch.double)
    equal[0, 1] = equal[1, 0] = 1
    wanted = equal / 2 + common / 12 + pairs / 8
    torch.testing.assert_close(agreement(labels)[0], wanted)


def test_tokens_are_compared_as_multisets() -> None:
    shares = agreement(torch.tensor([[[0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 0, 0]]]))[0]
    common = torch.tensor([[4, 2, 3], [2, 4, 3], [3, 3, 4]])
    pairs = torch.tensor([[3, 1, 1], [1, 3, 1], [1, 1, 3]])
    wanted = torch.eye(3, dtype=torch.double) / 2 + common / 16 + pairs / 12
    torch.testing.assert_close(shares, wanted)


def test_agreement_is_symmetric_one_with_itself_and_by_image() -> None:
    labels = torch.randint(4, (6, 7, 5), generator=torch.Generator().manual_seed(0))
    shares = agreement(labels)
    assert torch.equal(shares, shares.transpose(1, 2))
    torch.testing.assert_close(
        shares.diagonal(dim1=1, dim2=2), torch.ones(6, 7, dtype=torch.double)
    )
    assert ((shares >= 0) & (shares <= 1)).all()
    for image in range(6):
        torch.testing.assert_close(agreement(labels[image : image + 1])[0], shares[image])
    torch.testing.assert_close(agreement(labels + 100), shares)


def test_one_token_agrees_or_does_not() -> None:
    shares = agreement(torch.tensor([[[3], [3], [1]]]))[0]
    assert shares.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_the_mode_of_the_chains_wins() -> None:
    answer = Consensus().read([_step([[0, 1], [2, 3], [4, 4], [2, 3], [3, 2]])])
    assert answer.labels.tolist() == [[2, 3]]
    assert answer.candidates[0, :2].tolist() == [[2, 3], [2, 3]]
    assert (answer.scores.diff(dim=1) <= 0).all()
    # (2, 3) agrees fully with 1 of 4 others and by 1/4 with the transposed one.
    assert float(answer.scores[0, 0]) == pytest.approx((1 + 0.25) / 4, abs=1e-5)


def test_without_a_mode_the_one_in_the_middle_wins() -> None:
    answer = Consensus().read([_step([[0, 1, 2], [0, 1, 4], [3, 1, 4]])])
    assert answer.labels.tolist() == [[0, 1, 4]]


def test_of_equals_the_surest_wins_whatever_its_place() -> None:
    logits = torch.zeros(1, 3, 2, 5)
    labels = torch.tensor([[0, 1], [2, 3], [4, 4]])
    for chain, strength in enumerate((1.0, 3.0, 2.0)):
        for token in range(2):
            logits[0, chain, token, labels[chain, token]] = strength
    logits[0, :, :, :] += 7
    answer = Consensus().read([_step(labels, logits)])
    assert answer.labels.tolist() == [[2, 3]]
    sure = logits[0, 1, 0].softmax(-1)[2]
    torch.testing.assert_close(answer.confidence[0, 0], sure.expand(2))


def test_being_sure_outweighs_no_agreement() -> None:
    """The smallest difference that 40 tokens and 64 chains allow, against all the confidence."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(50, (1, 64, 40), generator=generator)
    logits = torch.zeros(1, 64, 40, 50).scatter(-1, labels.unsqueeze(-1), 30.0)
    others = agreement(labels).sum(-1)[0]
    best = int(others.argmax())
    logits[0, best] = 0
    answer = Consensus().read([_step(labels, logits)])
    assert torch.equal(answer.labels[0], labels[0, best])


def test_a_length_that_is_more_probable_breaks_ties() -> None:
    labels = [[0, 1], [2, 3]]
    for prior, wanted in (([-1.0, -0.2], [2, 3]), ([-0.2, -1.0], [0, 1])):
        answer = Consensus().read([_step(labels, prior=torch.tensor([prior]))])
        assert answer.labels.tolist() == [wanted]


def test_one_chain_is_its_own_consensus() -> None:
    answer = Consensus().read([_step([[3, 1, 2]])])
    assert answer.labels.tolist() == [[3, 1, 2]]
    p = float(torch.tensor([4.0, 0, 0, 0, 0]).softmax(-1)[0])
    assert float(answer.scores) == pytest.approx(p, abs=1e-5)


def test_likelihood_ranks_by_log_p_and_the_prior() -> None:
    step = _step([[0, 1], [2, 3], [4, 4]])
    scores = torch.tensor([[-3.0, -5.0, -1.0]])
    asked: list[Tensor] = []

    def log_p(labels: Tensor) -> Tensor:
        asked.append(labels)
        return scores

    answer = Likelihood().read([step], log_p)
    assert torch.equal(asked[0], step.clean.ids)
    assert answer.candidates.tolist() == [[[4, 4], [0, 1], [2, 3]]]
    assert answer.scores.tolist() == [[-1, -3, -5]]
    prior = torch.tensor([[0.0, 3.0, -4.5]])
    answer = Likelihood().read([_step([[0, 1], [2, 3], [4, 4]], prior=prior)], log_p)
    assert answer.scores.tolist() == [[-2, -3, -5.5]]
    assert answer.labels.tolist() == [[2, 3]]


def test_likelihood_needs_one() -> None:
    with pytest.raises(ValueError, match="needs the likelihood of whole answers"):
        Likelihood().read([_step([[0, 1]])])


@pytest.mark.parametrize("read_out", [Consensus(), Likelihood()])
def test_the_fields_of_an_answer(read_out) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, 6, 3, 5, generator=generator)
    labels = torch.randint(5, (4, 6, 3), generator=generator)
    exited = torch.tensor([False, True, False, True])
    steps = [
        _step(labels, logits),
        ChainStep(3, 0.1, logits, Clean(labels), exited),
    ]
    answer = read_out.read(steps, lambda rows: rows.sum(-1).float())
    torch.testing.assert_close(answer.probabilities, logits.softmax(-1).mean(1))
    torch.testing.assert_close(answer.votes.sum(-1), torch.ones(4, 3))
    share = (labels[1, :, 2] == 3).float().mean()
    torch.testing.assert_close(answer.votes[1, 2, 3], share)
    assert answer.steps.tolist() == [4, 3, 4, 3]
    assert torch.equal(answer.labels, answer.candidates[:, 0])
    for image in range(4):
        own = [tuple(row) for row in labels[image].tolist()]
        assert sorted(map(tuple, answer.candidates[image].tolist())) == sorted(own)
        for place, row in enumerate(answer.candidates[image].tolist()):
            p = logits[image].softmax(-1).gather(-1, labels[image].unsqueeze(-1)).squeeze(-1)
            assert any(
                torch.allclose(answer.confidence[image, place], p[c])
                for c in range(6)
                if own[c] == tuple(row)
            )
    assert (read_out.start, read_out.max_steps) == ("noise", None)


def test_priors_of_lengths_stand_in_the_order_of_the_answers() -> None:
    prior = torch.tensor([[-1.0, -2.0, -3.0]])
    step = _step([[0, 1], [2, 3], [4, 4]], prior=prior)
    answer = Likelihood().read([step], lambda _: torch.tensor([[-9.0, -2.0, -5.0]]))
    assert answer.candidates.tolist() == [[[2, 3], [4, 4], [0, 1]]]
    assert answer.prior is not None
    assert answer.prior.tolist() == [[-2.0, -3.0, -1.0]]
