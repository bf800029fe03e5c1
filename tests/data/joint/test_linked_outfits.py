"""Linked outfits: the law of their words, their pictures and an annotator's answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from addkit.data.linked_outfits import Annotator, LinkedOutfits, linked_words
from addkit.data.settings import LinkedOutfitsConfig

SMALL = {"train_size": 40, "test_size": 30, "validation_size": 20}


def _source(root: Path, **settings: object) -> LinkedOutfits:
    return LinkedOutfits(LinkedOutfitsConfig.model_validate({"root": root, **SMALL, **settings}))


def test_words_are_combinations_of_linked_blocks() -> None:
    words = linked_words(3, 16, 5, 10, seed=535)
    # Pinned: a change would make every published number another problem's.
    assert words.shape == (933, 12)
    assert len(words.unique(dim=0)) == 933
    for block in range(3):
        assert len(words[:, 4 * block : 4 * block + 4].unique(dim=0)) <= 16
    for block in range(2):
        pairs = words[:, [4 * block, 4 * block + 4]].unique(dim=0)
        assert int(pairs[:, 0].bincount(minlength=10).max()) <= 5
    free = linked_words(2, 3, 10, 10, seed=0)
    assert len(free) == 9


def test_facts_need_no_files(tmp_path: Path) -> None:
    source = _source(tmp_path / "nowhere")
    facts = source.facts
    assert facts.token_names[:4] == ("a1", "b1", "c1", "a2")
    assert (facts.num_tokens, len(facts.combinations), facts.image_size) == (12, 933, 28)
    assert source.annotator.places.tolist() == [False] * 6 + [True] * 6
    # Blocks are interleaved: place n belongs to block n mod 3.
    words = linked_words(3, 16, 5, 10, seed=535)
    assert torch.equal(source.words[:, ::3], words[:, :4])


def test_reversed_places_keep_their_names(tmp_path: Path) -> None:
    plain, reverse = (_source(tmp_path, reverse=flag) for flag in (False, True))
    assert reverse.facts.token_names == plain.facts.token_names[::-1]
    assert torch.equal(reverse.words, plain.words.flip(1))
    assert torch.equal(reverse.annotator.places, plain.annotator.places.flip(0))


def test_evaluations_have_evidence_and_trainings_none(clothes: Path) -> None:
    source = _source(clothes, asked="all")
    test, train = source.split("test"), source.split("train")
    batch = test.batch([3, 7, 11], None)
    assert batch.images.shape == (3, 1, 28, 28)
    assert torch.equal(batch.labels, test.labels[[3, 7, 11]])
    again = test.batch([7], None)
    assert torch.equal(again.evidence[0], batch.evidence[1])
    torch.testing.assert_close(batch.evidence.exp().sum(-1), torch.ones(3, 12))
    assert train.batch([0], 1).evidence is None
    assert not torch.equal(train.batch([0], 1).images, train.batch([0], 2).images)
    assert bool((source.words[None] == test.labels[:, None]).all(-1).any(1).all())


def test_without_a_picture_nothing_of_the_pieces_is_left(clothes: Path) -> None:
    nothing, something = (
        _source(clothes, test_noise=level).split("test").batch(range(30), None).images
        for level in (["no picture"], [0.0])
    )
    # The last four places of the grid have no piece.
    assert nothing[:, :, 21:].unique().numel() == 1
    assert float(nothing[:, :, :21].std()) == pytest.approx(1.0, abs=0.05)
    assert bool((nothing[0] != something[0]).any())


def test_an_annotator_is_right_as_often_as_it_claims() -> None:
    places = torch.tensor([True, False, True])
    labels = torch.randint(10, (4000, 3), generator=torch.Generator().manual_seed(0))
    draws = torch.rand(4000, 6, generator=torch.Generator().manual_seed(1))
    evidence = Annotator(0.7, places).evidence(labels, draws, 10)
    assert not evidence[:, 1].any()
    right = (evidence.argmax(-1) == labels)[:, [0, 2]].float().mean()
    assert float(right) == pytest.approx(0.7, abs=0.02)
    wrong = evidence[:, 0].argmax(-1)[evidence[:, 0].argmax(-1) != labels[:, 0]]
    assert len(wrong.unique()) == 10
    ratio = evidence[0, 0].max() - evidence[0, 0].min()
    assert float(ratio) == pytest.approx(float(torch.tensor(0.7 / (0.3 / 9)).log()), abs=1e-4)
