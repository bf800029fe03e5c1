from __future__ import annotations

import pytest
import torch

from addkit.data.augmentation import Augmenter
from addkit.data.captions import ReferencedImages, References
from addkit.data.image_sets import Bitmaps, MemoryImages
from addkit.data.images import Pixels
from addkit.recipe.tables import Augmentation

ANSWERS = [[[1, 2, 3, 4]], [[5], [6, 7]], [[8, 9, 1], []]]


@pytest.fixture
def references() -> References:
    return References.of(ANSWERS, 3, 0)


def test_answers_are_cut_and_filled(references: References) -> None:
    assert len(references) == 3
    assert references.of_image(0).tolist() == [[1, 2, 3]]
    assert references.of_image(1).tolist() == [[5, 0, 0], [6, 7, 0]]
    assert references.first().tolist() == [[1, 2, 3], [5, 0, 0], [8, 9, 1]]


def test_some_images(references: References) -> None:
    some = references.at([2, 0])
    assert some.of_image(0).tolist() == [[8, 9, 1], [0, 0, 0]]
    assert some.of_image(1).tolist() == [[1, 2, 3]]
    assert len(references.at([])) == 0
    assert references.at([]).first().shape == (0, 3)


def test_a_batch_repeats_the_first_answer(references: References) -> None:
    rows, counts = references.batch([0, 1])
    assert rows.tolist() == [[[1, 2, 3], [1, 2, 3]], [[5, 0, 0], [6, 7, 0]]]
    assert counts.tolist() == [1, 2]


def test_images_bring_all_their_answers(references: References) -> None:
    pixels = Pixels(2, 1, (0.0,), (1.0,), 2)
    values = torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2)
    bitmaps = Bitmaps(values, 16, references.first(), ("one", "two", "three"))
    memory = MemoryImages(bitmaps, pixels, Augmenter(Augmentation.model_validate({}), pixels))
    images = ReferencedImages(memory, references, [["A"], ["B", "C"], ["D", "E"]], str.lower)
    assert len(images) == 3
    assert images.labels.tolist() == references.first().tolist()
    assert images.source(1) == "two"
    assert images.picture(1).tobytes() == bytes([64, 80, 96, 112])
    batch = images.batch([2, 0], None)
    assert batch.labels.tolist() == [[8, 9, 1], [1, 2, 3]]
    assert batch.references is not None
    assert batch.references.shape == (2, 2, 3)
    assert batch.reference_counts is not None
    assert batch.reference_counts.tolist() == [2, 1]
    assert batch.texts == (("d", "e"), ("a",))
    assert batch.images.flatten(1).tolist() == (values[[2, 0]].float() / 16).flatten(1).tolist()
