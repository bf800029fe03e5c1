from __future__ import annotations

import math

import pytest
import torch

from addkit.data.digits import Digits
from addkit.data.loader import load
from addkit.data.settings import DigitsConfig
from addkit.data.side_inputs import SideInputsImages, encoded, number_in
from addkit.errors import DataError
from addkit.plugin.values import Column

AGE = Column("age", "number", mean=10.0, std=2.0)
KIND = Column("kind", "category", ("cat", "dog"))


def test_numbers_are_standardised_and_missing_ones_are_nan() -> None:
    values = encoded(AGE, ["12", "9.0", "", None])
    assert values.dtype == torch.float32
    assert values[:2].tolist() == [1.0, -0.5]
    assert values[2:].isnan().all()


def test_categories_are_numbered_and_texts_stay() -> None:
    assert encoded(KIND, ["dog", None, "cat", ""]).tolist() == [1, -1, 0, -1]
    assert encoded(Column("said", "text"), ["a b", None]) == ("a b", "")


@pytest.mark.parametrize("cell", ["old", "nan", "inf", "1,5"])
def test_cells_that_are_no_numbers_are_refused(cell: str) -> None:
    assert number_in(cell) is None
    with pytest.raises(DataError, match=f'"{cell}" in column "age" is not a number, such as 1.5'):
        encoded(AGE, [cell])


def test_an_unknown_category_is_guessed() -> None:
    text = r'"dgo" is no category of column "kind" \(did you mean "dog"\?\); known: cat, dog'
    with pytest.raises(DataError, match=text):
        encoded(KIND, ["dgo"])
    many = Column("n", "category", tuple(map(str, range(30))))
    with pytest.raises(DataError, match=r"10, 11 and 18 more"):
        encoded(many, ["x"])


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hold_the_rows_of_their_images(workers: int) -> None:
    images = Digits(DigitsConfig.model_validate({})).split("test")
    rows = [str(number) for number in range(len(images))]
    side_inputs = {"age": encoded(AGE, rows), "said": tuple(rows)}
    both = SideInputsImages(images, side_inputs)
    assert (len(both), both.source(3)) == (len(images), images.source(3))
    assert both.picture(3).size == (8, 8)
    (batch,) = load(both, [[5, 2, 9]], None, workers)
    assert batch.side_inputs is not None
    assert batch.side_inputs["said"] == ("5", "2", "9")
    torch.testing.assert_close(batch.side_inputs["age"], torch.tensor([-2.5, -4.0, -0.5]))
    assert torch.equal(batch.images, images.batch([5, 2, 9], None).images)
    assert torch.equal(both.over(images).batch([1], None).labels, both.labels[[1]])
    assert math.isclose(float(both.batch([0], 3).side_inputs["age"][0]), -5.0)
