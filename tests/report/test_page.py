from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from addkit.errors import DataError, UsageError
from addkit.report import predictions
from addkit.report.contents import figure_of
from addkit.report.page import check_page, write_page
from addkit.report.sections import open_source

from .browser import NAME, opened
from .made import evaluated, made_ablation, made_run, row

FILES_ALONE = {"scores", "accuracy", "losses", "steps", "settings", "audit", "origin"}
AUDIT = {
    "first_step": 90.0, "last_step": 80.0, "shuffled_state": 9.0, "no_image": 8.0, "control": None,
    "steps": 20, "answer": "The network uses its own state.", "uses_state": True,
    "uses_state_points": 71.0, "uses_state_interval": 1.0, "helps": False, "helps_points": -10.0,
    "helps_interval": 1.0,
}  # fmt: skip


def _page(folder: Path, output: Path) -> tuple[str, dict[str, str | None]]:
    reasons = write_page(output, open_source(folder))
    return output.read_text("utf-8"), {part.name: part.reason for part in reasons}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, digits_run: Path) -> dict[str, Path]:
    """A page of a digits run and of an ablation."""
    folder = tmp_path_factory.mktemp("pages")
    run = Path(shutil.copytree(digits_run, folder / "run"))
    evaluated(run, [row(1, 70.0), row(5, 80.0)], audit=AUDIT)
    sources = {"run": run, "ablation": made_ablation(folder / "ablation")}
    for name, source in sources.items():
        write_page(folder / f"{name}.html", open_source(source))
    return {name: folder / f"{name}.html" for name in sources}


@pytest.mark.parametrize("name", ["run", "ablation"])
def test_a_page_has_no_outside_parts(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text("utf-8")
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    outside = set(re.findall(r"https?://[^\"' ]*", text))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", ["run", "ablation"])
def test_every_figure_has_words(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text("utf-8")
    figures = re.findall(r"<figure>(.*?)</figure>", text, re.DOTALL)
    assert len(figures) >= 6
    for figure in figures:
        (caption,) = re.findall(r"<figcaption>(.*?)</figcaption>", figure)
        assert "addkit " in caption  # the command
        for label in re.findall(r'<svg [^>]*aria-label="([^"]*)"', figure):
            assert re.search(r"\d", label)
    assert len(re.findall(r"<img ", text)) == len(re.findall(r'<img [^>]*alt="Test image', text))


def test_files_are_enough_for_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(recipe: object) -> None:
        raise DataError("no images")

    monkeypatch.setattr(predictions, "build_data", gone)
    run = made_run(tmp_path / "run")
    evaluated(run, [row(1, 70.0), row(5, 80.0)], audit=AUDIT)
    text, reasons = _page(run, tmp_path / "r.html")
    assert {name for name, reason in reasons.items() if reason is None} == FILES_ALONE
    assert all(
        "`addkit " in reason for reason in reasons.values() if reason and "table 3" not in reason
    )
    assert text.count("<svg") == 3
    assert "A &lt;made&gt; run." in text


def test_nothing_but_a_recipe_still_makes_a_page(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    for file in ("metrics.jsonl", "manifest.json"):
        (run / file).unlink()
    text, reasons = _page(run, tmp_path / "r.html")
    assert [name for name, reason in reasons.items() if reason is None] == ["origin"]
    assert "<svg" not in text
    assert f"`addkit train {run} --resume`" in (reasons["scores"] or "")
    assert f"not evaluated yet; `addkit evaluate --run {run}`" in (reasons["audit"] or "")


def test_what_an_evaluation_lacks(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    evaluated(run, [])
    _, reasons = _page(run, tmp_path / "r.html")
    assert f"no audit; `addkit evaluate --run {run}`" in (reasons["audit"] or "")
    assert "captions" in (reasons["table3"] or "")
    facts = run / "facts.json"
    facts.write_text(facts.read_text().replace('"mean"', '"pad": 0, "mean"'))
    _, reasons = _page(run, tmp_path / "r.html")
    command = f"`addkit evaluate --run {run} --clip MODEL:WEIGHTS`"
    assert f"no table 3; {command}" in (reasons["table3"] or "")


def test_table_3(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", task="captioning", score="exact_match", value=0.5)
    facts = run / "facts.json"
    facts.write_text(facts.read_text().replace('"mean"', '"pad": 0, "mean"'))
    clip = {"clip_cosine": 0.5, "low": 0.4, "high": 0.6, "clip_score": 1.25}
    clip |= {"ref_clip_score": None, "share": 0.9}
    empty = dict.fromkeys(clip)
    rows = [{"row": "ground truth", **clip}, {"row": "ADD", **empty, "exact_match": 0.5}]
    evaluated(run, [], table3=rows)
    text, reasons = _page(run, tmp_path / "r.html")
    assert reasons["table3"] is None
    table = re.findall(r"<td[^>]*>([^<]*)</td>", text.split('id="table3"')[1].split("</table>")[0])
    assert table[:7] == ["ground truth", "0.5000", "0.4000 to 0.6000", "1.2500", "-", "90.00", "-"]
    assert table[7:] == ["ADD", "-", "-", "-", "-", "-", "50.00"]


def test_an_ablation_has_its_own_parts(pages: dict[str, Path]) -> None:
    text = pages["ablation"].read_text("utf-8")
    parts = re.findall(r'<section id="([^"]*)"', text)
    # Its runs have no weights, from which figure 4 would be drawn.
    shown = ["scores", "differences", "accuracy", "losses", "steps", "origin"]
    assert parts == [*shown, "not-shown"]
    assert "loss.name = odd failed: loss is &lt;nan&gt;" in text


def test_right_and_wrong_are_marked_by_signs(pages: dict[str, Path]) -> None:
    text = pages["run"].read_text("utf-8")
    marks = set(re.findall(r'class="(right|wrong)" role="img" aria-label="(.*?)">(.)<', text))
    assert marks == {("right", "right", "✓"), ("wrong", "wrong", "✗")}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("a.pdf", '--output a.pdf: ending ".pdf"; known: .html, .htm'),
        ("none/a.html", "--output none/a.html: there is no folder none"),
    ],
)
def test_pages_that_cannot_be_written(name: str, error: str) -> None:
    with pytest.raises(UsageError) as found:
        check_page(Path(name))
    assert str(found.value) == error


def test_neither_run_nor_ablation(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        open_source(tmp_path)
    for text in (str(tmp_path), "recipe.toml", "result.json", "`addkit train`", "`addkit ablate`"):
        assert text in str(error.value)


def test_figures_that_are_not_there(tmp_path: Path) -> None:
    source = open_source(made_ablation(tmp_path / "abl"))
    with pytest.raises(
        UsageError, match=r'no figure "stps" \(did you mean "steps"\?\); there are: '
    ):
        figure_of("stps", source)
    with pytest.raises(
        UsageError, match=r'"confusion" is of a run, .* with: differences, accuracy'
    ):
        figure_of("confusion", source)


MEASURE = """
[...document.querySelectorAll("figure, figure svg, figure img")].map((one) => {
  const box = one.getBoundingClientRect();
  return [box.width, box.height, box.left, box.right];
})"""
SMALLEST = """
Math.min(...[...document.querySelectorAll("svg text")].map((one) => {
  const place = one.getScreenCTM();
  return parseFloat(getComputedStyle(one).fontSize) * Math.hypot(place.a, place.b);
}))"""
WIDE = "document.documentElement.scrollWidth"


@pytest.mark.skipif(NAME is None, reason="no chromium here")
@pytest.mark.parametrize("name", ["run", "ablation"])
def test_a_browser_shows_every_figure_on_a_phone(
    pages: dict[str, Path], name: str, tmp_path: Path
) -> None:
    with opened(pages[name], tmp_path / "profile", 390, "dark") as page:
        boxes, widest, smallest = map(page.measure, (MEASURE, WIDE, SMALLEST))
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith(("data:", "file:"))] == []
    assert len(boxes) >= 6
    assert all(width > 50 and height > 20 for width, height, _, _ in boxes)
    assert all(left >= 0 and right <= 390 for _, _, left, right in boxes)
    assert widest <= 390
    assert smallest >= 7
