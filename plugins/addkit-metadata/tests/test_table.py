"""Tables of images and columns, and errors of broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from addkit_metadata.settings import ImageTableConfig
from addkit_metadata.table import ImageTable
from PIL import Image

from addkit.data.settings import DataWarning
from addkit.errors import DataError

ROWS = [f"{n}.png,{'cat' if n % 2 else 'dog'},{n},{'ab'[n % 3 > 0]}" for n in range(10)]


def _table(folder: Path, rows: list[str], head: str = "image,label,age,kind", **more: Any) -> Any:
    for n in range(len(rows)):
        Image.new("RGB", (8, 8), (20 * n, 0, 0)).save(folder / f"{n}.png")
    (folder / "t.csv").write_text("\n".join([head, *rows]) + "\n")
    return ImageTable(ImageTableConfig(file=folder / "t.csv", image_size=8, **more))


def test_kinds_are_inferred_and_rows_go_with_their_images(tmp_path: Path) -> None:
    rows = [*ROWS, "10.png,cat,,?"]
    source = _table(tmp_path, rows)
    age, kind = source.facts.columns
    assert (age.name, age.kind, kind.name, kind.kind) == ("age", "number", "kind", "category")
    assert kind.categories == ("a", "b")
    for split in ("train", "test"):
        images = source.split(split)
        batch = images.batch(range(len(images)), None)
        for place, index in enumerate(batch.indices):
            n = int(Path(images.source(index)).stem)
            value = float(batch.side_inputs["age"][place]) * age.std + age.mean
            assert (n == 10 and value != value) or value == pytest.approx(n, abs=1e-4)
    train = source.split("train").batch(range(source.facts.split_sizes["train"]), None)
    known = train.side_inputs["age"][~train.side_inputs["age"].isnan()]
    torch.testing.assert_close(known.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(known.std(correction=0), torch.tensor(1.0))


def test_kinds_and_splits_can_be_given(tmp_path: Path) -> None:
    rows = [f"{row},{'test' if n > 6 else 'train'}" for n, row in enumerate(ROWS)]
    head = "image,label,age,kind,part"
    columns: Any = {"age": "category"}
    source = _table(
        tmp_path, rows, head, columns=columns, split_column="part", unknown_categories="missing"
    )
    assert [(one.name, one.kind) for one in source.facts.columns] == [("age", "category")]
    assert source.facts.split_sizes == {"train": 7, "test": 3}
    assert source.split("test").batch([0, 1, 2], None).side_inputs["age"].tolist() == [-1, -1, -1]


def test_names_and_separators_of_other_programs(tmp_path: Path) -> None:
    expected = _table(tmp_path, ROWS)
    rows = [f".\\{row}".replace(",", ";").replace(".png", ".PNG") for row in ROWS]
    with pytest.warns(DataWarning, match=r"10 of 10 .*backslashes, case"):
        source = _table(tmp_path, rows, "image;label;age;kind")
    train, other = source.split("train"), expected.split("train")
    assert [train.source(i) for i in range(8)] == [other.source(i) for i in range(8)]
    assert source.facts.columns == expected.facts.columns


@pytest.mark.parametrize("cells", [("1,5", "2"), ("12,0", "x")])
def test_decimal_commas_are_no_categories(tmp_path: Path, cells: tuple[str, str]) -> None:
    rows = [f"{n}.png;{'ab'[n % 2]};{cells[n % 2]}" for n in range(10)]
    text = r't\.csv:2: "1.*columns\.age'
    if "x" in cells:
        assert _table(tmp_path, rows, "image;label;age").facts.columns[0].kind == "category"
        return
    with pytest.raises(DataError, match=text):
        _table(tmp_path, rows, "image;label;age")


def test_underscores_are_no_digits(tmp_path: Path) -> None:
    rows = [f"{n}.png,{'ab'[n % 2]},1_{n % 3}" for n in range(10)]
    assert _table(tmp_path, rows, "image,label,age").facts.columns[0].kind == "category"


def test_missing_images_are_named_by_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r't\.csv:5: .*3\.jpg is no file \(did you mean "3\.png"'):
        _table(tmp_path, [*ROWS[:3], ROWS[3].replace("png", "jpg"), *ROWS[4:]])


@pytest.mark.parametrize(
    ("line", "row", "text"),
    [
        (
            4,
            "2.png,dog,two,a",
            r't\.csv:4: "two" in column "age" is no number.*columns\.age = "cat',
        ),
        (4, "2.png,,2,a", r't\.csv:4: no label in column "label"'),
        (4, ",dog,2,a", r't\.csv:4: no image file in column "image"'),
        (4, "1.png,dog,2,a", r"t\.csv:4: .*1\.png is named twice"),
        (4, "2.png,dog,2", r"t\.csv:4: 3 cells, and 4 columns"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, line: int, row: str, text: str) -> None:
    rows = [*ROWS]
    rows[line - 2] = row
    with pytest.raises(DataError, match=r"(?s)" + text):
        _table(tmp_path, rows)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"label_column": "lable"}, r'no column "lable" \(did you mean "label"\?\)'),
        ({"columns": {"aeg": "number"}}, r'no column "aeg" \(did you mean "age"\?\)'),
        ({"columns": {"kind": "number"}}, r't\.csv:2: "a" in column "kind" is no number'),
        ({"split_column": "kind"}, r't\.csv:2: "a" in column "kind" is no split'),
    ],
)
def test_a_wrong_column_is_named(tmp_path: Path, more: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        _table(tmp_path, ROWS, **more)


def test_a_category_that_training_lacks_is_named(tmp_path: Path) -> None:
    rows = [f"{row},{'test' if n > 6 else 'train'}" for n, row in enumerate(ROWS)]
    rows[8] = rows[8].replace(",b,", ",bb,")
    text = r't\.csv:10: "bb" is no category of column "kind"(?s:.*)unknown_categories = "missing"'
    with pytest.raises(DataError, match=text):
        _table(tmp_path, rows, "image,label,age,kind,part", split_column="part")


def test_an_image_that_is_missing_is_named(tmp_path: Path) -> None:
    source = _table(tmp_path, ROWS)
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"3\.png"):
        source.split("train")
        source.split("test")
