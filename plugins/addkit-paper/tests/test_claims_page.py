from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from addkit_paper.claims import CLAIMS, Assessment, assess, check_page, page_text, write_page
from addkit_paper.claims.claim import Claim, Comparison
from addkit_paper.claims.page import HOW, TOP, one_sentence_a_line, path_text
from addkit_paper.claims.quantities import ArmScore
from made import arm
from made_results import made_captions, made_stored_results, with_runs

from addkit.errors import UsageError
from addkit.recipe.overrides import changes_of

LINEAR = {"control.heads": "linear"}
CE = {"loss.name": "ce"}


@pytest.fixture
def assessment(tmp_path: Path) -> Assessment:
    arms = [(LINEAR, (70.0, 71.5, 72.0)), (CE, (75.0, 76.0, 77.5))]
    runs = with_runs(tmp_path, "base")
    captions = made_captions(tmp_path, controls={"masked": (0.3, 0.9, 0.8)})
    return assess(made_stored_results(tmp_path, *arms, runs=runs, captions=captions))


@pytest.fixture
def page(assessment: Assessment) -> str:
    return page_text(assessment)


def _section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_claim_has_a_line_a_section_and_commands(page: str) -> None:
    for claim in CLAIMS:
        assert f"| [{claim.title}](#" in page
        section = _section(page, claim.title)
        assert f'"{claim.quote}" ({claim.place})' in section
        assert re.search(r"^    addkit ", section, re.MULTILINE)
        for comparison in claim.comparisons:
            assert f"| {comparison.what} | " in section
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)


def test_the_stored_page_has_the_text_of_every_claim() -> None:
    """Verdicts and numbers change with the results; what is written by hand does not."""
    page = (Path(__file__).parents[3] / "docs" / "claims.md").read_text("utf-8")
    assert page.startswith(TOP)
    assert HOW in page
    for claim in CLAIMS:
        section = _section(page, claim.title)
        assert f'"{claim.quote}" ({claim.place}).\nThe paper: {claim.paper}.\n' in section
        assert all(f"{line}\n" in section for line in one_sentence_a_line(claim.note))
        assert all(f"| {comparison.what} | " in section for comparison in claim.comparisons)


def test_links_meet_their_headings(page: str) -> None:
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors


def test_it_says_on_what_it_rests(page: str) -> None:
    assert "It does not settle the paper's own scale" in page
    assert "| seeds | 0, 1, 2 | 0, 1, 2 | one, as far as it says |" in page
    assert "| images | 9 train, 9 test | 9 train, 9 test | 1.28 M" in page
    assert "| versions | torch 2.11, Python 3.11 |" in page
    assert "    addkit claims abl --captions emoji-0,emoji-1,emoji-2\n" in page


def test_numbers_of_a_comparison(page: str) -> None:
    section = _section(page, "ADD beats the standard classifier")
    assert (
        "| ADD with the coefficient, over a linear head | the paper's | top-1, % | 81.00 +- 1.00 | "
        "71.17 +- 1.04 | 3 | +9.83 | +9.12 to +10.55 | holds |"
    ) in section
    assert "**holds**; controls: not tested.\nThe paper's ADD has" in section
    section = _section(page, "ADD captions better than masked diffusion")
    assert "| 70.00 +- 10.00 | 66.67 +- 32.15 | 3 | +3.33 | -59.18 to +65.85 | not dis" in section


def test_what_was_not_tested_is_said_once(page: str) -> None:
    section = _section(page, "The output approaches one-hot")
    assert section.count("no confidence of the last step is stored") == 1
    assert "Not tested: no confidence" in section
    section = _section(page, "ADD beats the standard classifier")
    named = "Not tested (ADD with the coefficient, over an MLP head of its size; ADD without"
    assert named in section
    assert "the ablation has no arm `control.heads=mlp`" in section
    assert "    addkit ablate recipes/ablation.toml --seeds 3\n" in section


def test_tables_are_whole_whatever_an_error_says(tmp_path: Path) -> None:
    results = made_stored_results(tmp_path, arm(CE, [], error="a | b\nis <nan>"))
    claim = Claim(
        name="n",
        title="A | title",
        quote="q",
        place="a | place",
        paper="x",
        comparisons=(Comparison("a | b", ArmScore(), ArmScore(CE)),),
        repeat=("addkit",),
    )
    page = page_text(assess(results, [claim]))
    assert r"failed: a \| b is &lt;nan>." in page
    assert r"a \| place" in page
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        cells = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


def test_the_same_results_give_the_same_bytes(assessment: Assessment, tmp_path: Path) -> None:
    for name in ("one.md", "two.md"):
        write_page(tmp_path / name, assessment)
    assert (tmp_path / "one.md").read_bytes() == (tmp_path / "two.md").read_bytes()


def test_json_has_a_claim_with_its_comparisons(assessment: Assessment) -> None:
    stored = json.loads(json.dumps(assessment.data()))
    assert set(stored) == {"ablation", "captions", "scales", "claims"}
    assert set(stored["scales"]) == {"classification", "captions", "the paper"}
    first = stored["claims"][0]
    assert set(first) == {
        *("name", "title", "quote", "place", "paper", "verdict", "control_verdict"),
        *("comparisons", "note", "repeat"),
    }
    one = first["comparisons"][0]
    assert one["higher"] == {"mean": 81.0, "sd": 1.0, "values": {"0": 80.0, "1": 81.0, "2": 82.0}}
    assert one["difference"] == pytest.approx(59 / 6)
    assert (one["n"], one["verdict"], one["reason"], one["control"]) == (3, "holds", None, False)
    assert first["comparisons"][2]["verdict"] == "not tested"
    assert first["comparisons"][2]["low"] is None


def test_results_whose_trainings_are_gone(tmp_path: Path) -> None:
    page = page_text(assess(made_stored_results(tmp_path, (LINEAR, (70.0, 71.0, 72.0)))))
    assert "| data | - | ImageNet; COCO captions |" in page
    assert "no captioning runs were given" in page


def test_another_recipe_is_named_where_its_file_is_not_known(tmp_path: Path) -> None:
    page = page_text(assess(made_stored_results(tmp_path, recipe="my ablation")))
    assert "    addkit ablate RECIPE (my ablation) --seeds 3\n" in page


def test_paths_are_shown_as_seen_from_here(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_text(Path("runs/x")) == "runs/x"
    assert path_text(tmp_path / "runs" / "x") == "runs/x"
    assert path_text(tmp_path.parent / "other" / "x") == "x"


def test_where_no_page_can_be_written(tmp_path: Path) -> None:
    check_page(tmp_path / "claims.md")
    with pytest.raises(UsageError, match=r'claims\.html: ending "\.html"; known: \.md$'):
        check_page(tmp_path / "claims.html")
    with pytest.raises(UsageError, match=r"there is no folder .*missing$"):
        check_page(tmp_path / "missing" / "claims.md")


def test_the_recipe_has_every_arm_that_claims_need(recipes: Path, tmp_path: Path) -> None:
    tables = tomllib.loads((recipes / "ablation.toml").read_text("utf-8"))["ablation"]
    arms = [changes_of(arm["changes"]) for arm in tables["arms"]]
    arms += [{"control.heads": head} for head in tables["controls"]]
    results = made_stored_results(tmp_path, *((changes, (1.0, 2.0, 4.0)) for changes in arms))
    lacking = {
        measured.reason
        for claim in assess(results).claims
        for measured in claim.measured
        if "no arm" in (measured.reason or "")
    }
    assert lacking <= {"the ablation has no arm `training.reuse=1`"}
