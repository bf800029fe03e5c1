from __future__ import annotations

from addkit.recipe.differences import Difference, differences, flat

ONE = {"name": "a", "seed": 0, "loss": {"name": "ce"}, "data": {"crop": {"size": 3}, "x": {}}}


def test_flat_keys() -> None:
    assert flat(ONE) == {
        "name": "a",
        "seed": 0,
        "loss.name": "ce",
        "data.crop.size": 3,
        "data.x": {},
    }


def test_names_and_summaries_do_not_count() -> None:
    assert differences([ONE, {**ONE, "name": "b", "summary": "x"}]) == []


def test_values_in_order_and_none_where_there_is_none() -> None:
    other = {"seed": 0, "loss": {"name": "mse", "weight": 2}, "data": {"crop": {}}}
    assert differences([ONE, other, ONE]) == [
        Difference("loss.name", ("ce", "mse", "ce")),
        Difference("data.crop.size", (3, None, 3)),
        Difference("data.x", ({}, None, {})),
        Difference("loss.weight", (None, 2, None)),
        Difference("data.crop", (None, {}, None)),
    ]


def test_one_is_not_true() -> None:
    assert [one.key for one in differences([{"a": 1, "b": 1.0}, {"a": True, "b": 1}])] == ["a"]


def test_a_single_thing_differs_from_nothing() -> None:
    assert differences([ONE]) == []
