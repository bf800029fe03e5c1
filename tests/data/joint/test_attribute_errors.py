from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.data.attribute_table import AttributeTable
from addkit.data.settings import AttributeTableConfig, DataWarning
from addkit.errors import DataError

Table = Callable[..., Path]

TONES = ("dark", "light")
GOOD = [f"{n}.png,{TONES[n % 2]},{'test' if n > 7 else 'train'}" for n in range(10)]


def _source(file: Path, **settings: object) -> AttributeTable:
    return AttributeTable(AttributeTableConfig.model_validate({"file": file, **settings}))


def _refused(file: Path, text: str, **settings: object) -> None:
    with pytest.raises(DataError, match=text):
        _source(file, **settings)


def test_missing_columns(table: Table) -> None:
    path = table("image,tone,part", *GOOD)
    there = r"there are: image, tone, part\.\nRename a column or set data"
    for key, wrong in (("image_column", "imag"), ("split_column", "parts")):
        _refused(path, rf'pets\.csv:1: no column "{wrong}" .*{there}\.{key}\.', **{key: wrong})
    text = rf'pets\.csv:1: no column "tones" \(did you mean "tone"\?\); {there}\.attributes\.'
    _refused(path, text, attributes=["tones"])


def test_no_attribute(table: Table) -> None:
    path = table("image,part", "a.png,train", "b.png,test")
    _refused(path, r'pets\.csv:1: no column .*"image"', split_column="part")


def test_an_image_is_named_once(table: Table) -> None:
    path = table("image,tone,part", *GOOD, "./3.png,dark,train")
    _refused(path, r"pets\.csv:12: \./3\.png .*pets\.csv:5 ")


def test_a_row_without_image(table: Table) -> None:
    path = table("image,tone,part", *GOOD, ",dark,train")
    _refused(path, r'pets\.csv:12: no image file in column "image"')


def test_columns_that_are_no_classes(table: Table) -> None:
    path = table("image,tone,id", *(f"{n}.png,{TONES[n % 2]},{n}" for n in range(10)))
    text = r'column "id" has 10 different values in 10 rows \(such as "0"\); 1000 are allowed, and '
    _refused(path, text + r"some must occur twice\.\nName the columns .* in data\.attributes")
    assert _source(path, attributes=["tone"]).facts.token_names == ("tone",)
    path = table("image,hue", *(f"{n}.png,{n % 5}" for n in range(20)))
    _refused(path, r'column "hue" has 5 different values in 20 rows .*; 4 are', max_classes=4)
    assert _source(path).facts.num_classes == 5


def test_a_column_without_values(table: Table) -> None:
    lines = [f"{line},?" for line in GOOD]
    path = table("image,tone,part,age", *lines)
    text = r'column "age" has no value in any training row\. Fill some in, or leave it out'
    _refused(path, text, split_column="part")


def test_a_column_with_one_value_is_warned_of(table: Table) -> None:
    path = table("image,tone,part,kind", *(f"{line},cat" for line in GOOD))
    with pytest.warns(DataWarning, match='"kind" has one value in training, "cat": there is noth'):
        assert _source(path, split_column="part").facts.token_classes == ((0, 2), (2, 3))


def test_values_that_train_lacks(table: Table) -> None:
    path = table("image,tone,part", *GOOD, "x.png,lihgt,test", "y.png,lihgt,test", "z.png,7,test")
    with pytest.raises(DataError) as caught:
        _source(path, split_column="part")
    assert str(caught.value).splitlines() == [
        f"{path}: values that no training row has:",
        f'  {path}:12: "lihgt" in column "tone" (did you mean "light"?)',
        f'  {path}:13: "lihgt" in column "tone" (did you mean "light"?)',
        f'  {path}:14: "7" in column "tone"',
        'Correct them, or set data.unknown_values = "missing" to leave them out of scores.',
    ]
    source = _source(path, split_column="part", unknown_values="missing")
    assert source.facts.class_names == TONES
    assert source.facts.notes == {"test_missing_tone": 3}


def test_splits_that_are_none(table: Table) -> None:
    path = table("image,tone,part", *GOOD, "x.png,dark,tests")
    text = (
        r'pets\.csv:12: "tests" in column "part" is no split \(did you mean "test"\?\); '
        r"allowed: train, validation, test"
    )
    _refused(path, text, split_column="part")
    path = table("image,tone,part", *GOOD[:8])
    _refused(path, r'pets\.csv: no row has "test" in column "part"', split_column="part")


def test_two_validation_splits(table: Table) -> None:
    path = table("image,tone,part", *GOOD, "x.png,dark,validation")
    text = r'column "part" names the validation rows; data\.validation must be 0'
    _refused(path, text, split_column="part", validation=0.1)


def test_nothing_to_hold_out(table: Table) -> None:
    """Every row is the only one with one of its values."""
    path = table("image,age,tone", "a.png,1,x", "b.png,2,x", "c.png,3,y", "d.png,3,z")
    _refused(path, r"none of 4 \w+ can be held out for test \(share 0\.5\)", test_share=0.5)
    path = table("image,tone,part", "a.png,dark,train", "b.png,light,train", "c.png,dark,test")
    text = r"none of 2 \w+ can be held out for validation"
    _refused(path, text, split_column="part", validation=0.5)
