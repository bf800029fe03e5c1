from __future__ import annotations

import pytest

from addkit.metrics.captions import ChainValidity, chain_validity


def test_by_hand() -> None:
    chains = [["a cat", "cat a", "a cat", "dog"], ["dog", "fox", "dog", "fox"], ["emu"] * 4]
    references = [["a cat", "cat a", "the cat"], ["cat"], ["emu", "emu"]]
    validity = chain_validity(chains, references)
    assert validity.valid == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert validity.any_valid == pytest.approx(2 / 3)
    assert validity.coverage == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_images_weigh_alike_whatever_their_number_of_chains() -> None:
    assert chain_validity([["a"], ["b"] * 9], [["a"], ["a"]]).valid == 0.5


def test_all_forms_found() -> None:
    assert chain_validity([["a b", "b a"]], [["b  a", "a b"]]) == ChainValidity(1, 1, 1)


@pytest.mark.parametrize(
    ("chains", "references", "message"),
    [
        ([["a"]], [], "Chains of 1 images but references of 0."),
        ([], [], "At least one image, with a chain and a reference each, is needed."),
        ([[]], [["a"]], "At least one image, with a chain and a reference each, is needed."),
        ([["a"]], [[]], "At least one image, with a chain and a reference each, is needed."),
    ],
)
def test_what_cannot_be_scored(
    chains: list[list[str]], references: list[list[str]], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        chain_validity(chains, references)
    assert str(error.value) == message
