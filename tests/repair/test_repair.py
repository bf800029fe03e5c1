"""Repair of recorded labels, with a model whose posterior is known. Nothing is trained."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from addkit.data.settings import AttributeTableConfig, DataWarning
from addkit.errors import DataError, UsageError
from addkit.plugin.values import DataFacts
from addkit.repair import (
    Suspicion,
    examined,
    ranked,
    read_records,
    write_repair_page,
    write_suspicions,
)
from addkit.repair.folds import folds_of
from addkit.tasks.predictions import JointAnswer, JointPrediction, LabelScore

from ..report import browser

NAMES, CLASSES = ("colour", "shape"), ("blue", "red", "box", "disc")
FACTS = DataFacts(
    num_classes=4,
    class_names=CLASSES,
    image_size=8,
    image_channels=3,
    mean=(0.5,),
    std=(0.5,),
    shorter_side=8,
    split_sizes={},
    num_tokens=2,
    token_names=NAMES,
    token_classes=((0, 2), (2, 4)),
)
LINK = torch.tensor([[0.45, 0.05], [0.05, 0.45]])
"""p(colour, shape): blue boxes and red discs; pictures show nothing."""


class Known:
    """Answers with the exact posterior of `LINK` under the evidence."""

    facts = FACTS

    @property
    def inference(self) -> Known:
        return self

    def with_evidence(self) -> None:
        pass

    def stream(
        self, images: Iterable[Path], *, evidence: Iterator[torch.Tensor], **_: Any
    ) -> Iterator[list[Any]]:
        for image, likelihoods in zip(images, evidence, strict=True):
            if image.name == "broken.png":
                yield [DataError(f"{image}: cannot be read")]
                continue
            joint = LINK.log() + likelihoods[0, :2, None] + likelihoods[1, None, 2:]
            p = joint.flatten().softmax(0).view(2, 2)
            shares = {"colour": p.sum(1), "shape": p.sum(0)}
            marginals = {
                name: tuple(
                    LabelScore(CLASSES[start + k], start + k, float(value), 0.0)
                    for k, value in enumerate(shares[name])
                )
                for name, start in (("colour", 0), ("shape", 2))
            }
            yield [JointPrediction((JointAnswer({}, None, 0.0),), marginals, 1)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Nineteen rows that fit, one that does not, and cells that nobody filled in."""
    lines = [f"{number}.png,blue,box" for number in range(10)]
    lines += [f"{number}.png,red,disc" for number in range(10, 19)]
    lines += ["19.png,red,box", '"a, b.png",,disc', "broken.png,red,disc", "22.png,green,disc"]
    file = tmp_path / "table.csv"
    file.write_text("\n".join(["image,colour,shape", *lines]) + "\n")
    return file


def _records(table: Path) -> Any:
    return read_records(AttributeTableConfig.model_validate({"file": table}))


def test_the_label_that_does_not_fit_is_the_most_suspicious(table: Path) -> None:
    records = _records(table)
    assert records.names == NAMES
    with pytest.warns(DataWarning) as warned:
        found = ranked(examined(Known(), records, records.rows))  # type: ignore[arg-type]
    assert {each.record.line for each in found[:2]} == {21}
    # Symmetric: either label may be the wrong one.
    assert {each.attribute for each in found[:2]} == set(NAMES)
    assert found[0].wrong > 0.2 > 2 * found[2].wrong
    # Rates start at 0.1, and few labels are wrong here, so that the second pass doubts less.
    assert len(found) == 2 * 20 + 1 + 1
    assert "broken.png" in str(warned[0].message)
    assert "green" in str(warned[1].message)
    assert len(warned) == 2


def test_folds_are_parts_of_nearly_equal_size(table: Path) -> None:
    rows = _records(table).rows
    parts = folds_of(rows, 3, seed=0)
    assert sorted(row.index for part in parts for row in part) == list(range(23))
    assert {len(part) for part in parts} == {7, 8}
    assert folds_of(rows, 3, seed=0) == parts
    assert folds_of(rows, 3, seed=1) != parts


def test_unknown_columns_are_refused(table: Path) -> None:
    config = AttributeTableConfig.model_validate({"file": table, "image_column": "picture"})
    with pytest.raises(DataError, match="picture"):
        read_records(config)


def _suspicions(records: Any) -> list[Suspicion]:
    rows = {row.line: row for row in records.rows}
    return [
        Suspicion(rows[21], "shape", "box", "disc", 0.95, 0.95),
        Suspicion(rows[22], "shape", "disc", "</script><b>", 0.93, 0.4),
    ]


def test_the_csv_has_every_label_in_order(table: Path, tmp_path: Path) -> None:
    records = _records(table)
    write_suspicions(tmp_path / "s.csv", _suspicions(records))
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert (rows[0]["row"], rows[0]["column"]) == ("21", "shape")
    assert (rows[0]["recorded"], rows[0]["suggested"]) == ("box", "disc")
    assert (float(rows[0]["wrong"]), float(rows[1]["probability"])) == (0.95, 0.4)
    assert rows[1]["image"].endswith("a, b.png")


@pytest.fixture
def page(table: Path, tmp_path: Path) -> Path:
    records = _records(table)
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / "19.png")
    write_repair_page(tmp_path / "page.html", records, _suspicions(records))
    return tmp_path / "page.html"


def test_the_page_has_the_table_and_the_pictures(page: Path) -> None:
    text = page.read_text("utf-8")
    data = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    assert data["columns"] == ["image", "colour", "shape"]
    assert len(data["rows"]) == 23
    first, second = data["labels"]
    assert (first["row"], first["column"], first["line"]) == (19, 2, 21)
    assert first["picture"].startswith("data:image/png;base64,")
    # A picture that is gone is no error, and no value can end the script.
    assert second["picture"] == ""
    assert second["suggested"] == "</script><b>"


@pytest.mark.skipif(browser.NAME is None, reason="no Chromium here")
def test_accepted_suggestions_are_in_the_mended_copy(
    page: Path, table: Path, tmp_path: Path
) -> None:
    before = table.read_text()
    with browser.opened(page, tmp_path / "profile", 390) as view:
        count = "document.getElementById('count').textContent"
        assert view.measure(count) == "0 accepted, 0 kept, 2 open"
        assert view.measure("mended()") == before
        view.measure("document.getElementById('all').click(), 0")
        view.measure("document.querySelectorAll('.keep')[1].click(), 0")
        assert view.measure(count) == "1 accepted, 1 kept, 0 open"
        assert view.measure("mended()") == before.replace("19.png,red,box", "19.png,red,disc")
        # A second click takes the choice back.
        view.measure("document.querySelectorAll('.accept')[0].click(), 0")
        assert view.measure("mended()") == before
        assert view.measure("document.documentElement.scrollWidth") <= 390
        view.measure("document.getElementById('download').click(), 0")
        assert view.complaints == []
        assert all(url.startswith(("file:", "data:", "blob:")) for url in view.requests)
    assert table.read_text() == before


def test_the_command_writes_both_and_changes_no_table(
    addkit: Any, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Known()
    known.recipe = type("R", (), {"choices": {"data": type("C", (), {"config": None})}})  # type: ignore[attr-defined]
    monkeypatch.setattr("addkit.model.load", lambda path, weights: known)
    (tmp_path / "r").mkdir(exist_ok=True)
    before = table.read_text()
    words = ("repair", table, "--run", "r", "-o", tmp_path / "out")
    done = addkit(*words, "--json")
    assert done.code == 0, done.err
    assert done.json["examined"] == 42
    assert (tmp_path / "out" / "suspicious.csv").is_file()
    assert (tmp_path / "out" / "page.html").is_file()
    assert table.read_text() == before
    again = addkit(*words)
    assert again.code == 2
    assert "suspicious.csv" in again.err
    other = addkit("repair", table, "--run", "r", "-o", tmp_path / "more", "--set", "seed=1")
    assert other.code == 2


def test_more_folds_than_records(addkit: Any, table: Path, tmp_path: Path) -> None:
    done = addkit("repair", table, "--folds", "30", "-o", tmp_path / "out")
    assert done.code == 2
    assert "23" in done.err


def test_another_kind_of_data_is_refused(addkit: Any, table: Path, tmp_path: Path) -> None:
    done = addkit("repair", table, "--recipe", "digits", "-o", tmp_path / "out")
    assert done.code == 2
    assert UsageError.exit_code == 2
