from __future__ import annotations

import pytest

from addkit.data.attributes import Attributes, Row, joint_facts
from addkit.data.settings import AttributeTableConfig
from addkit.plugin.values import MISSING


def _rows(*values: tuple[str | None, ...]) -> list[Row]:
    return [Row(f"{n}.png", f"pets.csv:{n + 2}", value) for n, value in enumerate(values)]


@pytest.fixture
def attributes() -> Attributes:
    rows = _rows(("small", "light"), ("big", None), ("small", "dark"), (None, "medium"))
    return Attributes.learn(("size", "tone"), rows)


def test_one_vocabulary_attribute_by_attribute(attributes: Attributes) -> None:
    assert attributes.values == (("big", "small"), ("dark", "light", "medium"))
    assert attributes.class_names == ("big", "small", "dark", "light", "medium")
    assert attributes.token_classes == ((0, 2), (2, 5))


def test_labels_are_global_ids(attributes: Attributes) -> None:
    rows = _rows(("big", "dark"), ("small", "medium"), (None, "light"), ("huge", None))
    assert attributes.labels(rows).tolist() == [[0, 2], [1, 4], [MISSING, 3], [MISSING, MISSING]]
    assert attributes.missing(rows) == [2, 1]
    assert attributes.labels([]).shape == (0, 2)


def test_a_word_may_be_a_value_of_two_attributes() -> None:
    rows = _rows(("dark", "dark"), ("light", "dark"))
    attributes = Attributes.learn(("hair", "skin"), rows)
    assert attributes.class_names == ("dark", "light", "dark")
    assert attributes.labels(rows).tolist() == [[0, 2], [1, 2]]
    assert rows[0].parts == {"0 dark", "1 dark"}


def test_unknown_values_differ_from_missing_ones(attributes: Attributes) -> None:
    rows = _rows(("huge", "dark"), (None, None), ("big", "pale"), ("vast", "pale"))
    assert [attributes.unknown(row) for row in rows] == [[0], [], [1], [0, 1]]


def test_facts(attributes: Attributes) -> None:
    config = AttributeTableConfig.model_validate({"file": "pets.csv", "image_size": 8})
    splits = {"train": _rows(("big", "dark"), (None, "dark")), "test": _rows(("big", None))}
    facts = joint_facts(config, attributes, splits, (config.file,))
    assert (facts.num_classes, facts.num_tokens) == (5, 2)
    assert facts.class_names == attributes.class_names
    assert facts.token_names == ("size", "tone")
    assert facts.token_classes == ((0, 2), (2, 5))
    assert facts.split_sizes == {"train": 2, "test": 1}
    assert facts.notes == {"train_missing_size": 1, "test_missing_tone": 1}
    assert (facts.image_size, facts.shorter_side, facts.image_channels) == (8, 8, 3)
    assert facts.files == (config.file,)
