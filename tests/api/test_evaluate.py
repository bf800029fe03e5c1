"""`addkit.evaluate`: a sequence of typed rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import addkit
from addkit import Evaluation, Run
from addkit.errors import UsageError
from addkit.evaluation.results import ScoreRow


@pytest.fixture(scope="module")
def evaluation(digits_run: Path) -> Evaluation:
    return addkit.evaluate(digits_run, steps=[1, 20], read_out="last")


def test_rows(evaluation: Evaluation, digits_run: Path) -> None:
    settings = [(row.setting.read_out, row.setting.steps) for row in evaluation.results]
    assert settings == [("last", 1), ("last", 20)]
    assert len(evaluation) == len(evaluation.rows) == 4
    assert all(isinstance(row, ScoreRow) for row in evaluation)
    assert [*evaluation] == evaluation.rows
    assert evaluation[-1].model_name.startswith("control")
    assert evaluation.audit is None
    assert not (digits_run / "evaluation.json").exists()


def test_one_value_and_a_list_of_one_are_the_same(digits_run: Path, evaluation: Evaluation) -> None:
    one = addkit.evaluate(Run(digits_run), steps=1, read_out=["last"])
    assert one.results == evaluation.results[:1]


def test_the_view_escapes_what_it_shows(evaluation: Evaluation) -> None:
    html = evaluation._repr_html_()
    assert html.count("<tr>") == 5
    assert "<script" not in html
    for row in evaluation:
        assert f"{row.scores['top1']:.2f}" in html


def test_a_data_frame(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        evaluation.to_pandas()
    pandas, rows = ModuleType("pandas"), []
    pandas.DataFrame = rows.extend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    evaluation.to_pandas()
    assert [row["top1"] for row in rows] == [row.scores["top1"] for row in evaluation]
    assert {"model_name", "read_out", "steps"} <= rows[0].keys()


def test_what_is_stored_can_be_read_again(digits_run: Path, tmp_path: Path) -> None:
    import shutil

    run = shutil.copytree(digits_run, tmp_path / "run")
    evaluation = addkit.evaluate(run, audit=True, store=True, overrides={"data.name": "digits"})
    assert evaluation.audit is not None
    stored: Any = json.loads((run / "evaluation.json").read_text("utf-8"))
    assert len(stored["results"]) == len(evaluation.results)
