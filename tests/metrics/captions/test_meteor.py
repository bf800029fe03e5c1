"""METEOR with and without WordNet. What needs the real one is skipped where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nltk.data
import pytest

from addkit.errors import DataError
from addkit.metrics.captions import meteor, meteor_available, score_captions, wordnet

WordNet = Callable[[Path], None]
CAPTION, REFERENCE = "a pic of cats", "one photo of a cat"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No WordNet in any place; below the folder `nltk` is nltk's data path, `debian` Debian's."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
    monkeypatch.setattr(wordnet, "_DEBIAN", tmp_path / "debian")
    return tmp_path


@pytest.fixture(params=["folder", "archive", "debian"])
def small(request: pytest.FixtureRequest, nowhere: Path, write_wordnet: WordNet) -> None:
    """The small WordNet in each of the places where addkit looks."""
    if request.param == "debian":
        write_wordnet(nowhere / "debian")
        return
    folder = nowhere / "nltk" / "corpora" / "wordnet"
    write_wordnet(folder)
    (folder / "lexnames").write_text("".join(f"{number:02} name 1\n" for number in range(7)))
    (folder / "index.sense").write_text("")
    if request.param == "archive":
        shutil.make_archive(str(folder), "zip", folder.parent, "wordnet")
        shutil.rmtree(folder)


def _expected(matches: int, chunks: int, length: int, other: int) -> float:
    precision, recall = matches / length, matches / other
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    return mean * (1 - 0.5 * (chunks / matches) ** 3)


def test_without_wordnet_the_error_names_the_remedy(nowhere: Path) -> None:
    reason = meteor_available()
    assert reason == (
        "METEOR needs WordNet, which is not on this machine: run `python -m nltk.downloader "
        "wordnet`, set NLTK_DATA to a folder with corpora/wordnet, or install Debian's "
        "wordnet-base."
    )
    with pytest.raises(DataError) as error:
        meteor(["a cat"], [["a cat"]])
    assert str(error.value) == reason
    assert score_captions(["a cat"], [["a cat"]]).meteor is None


@pytest.mark.usefixtures("small")
def test_stems_and_synonyms_match_wherever_wordnet_lies() -> None:
    assert meteor_available() is None
    # a - a, pic - photo, of - of, cats - cat: `pic of` is one run of three.
    assert meteor([CAPTION], [[REFERENCE]]) == [pytest.approx(_expected(4, 3, 4, 5))]
    assert score_captions([CAPTION], [[REFERENCE]]).meteor == pytest.approx(_expected(4, 3, 4, 5))


@pytest.mark.usefixtures("small")
def test_the_best_reference_counts() -> None:
    scores = meteor(["red cat", "", "red cat"], [["blue dog", "red cat"], ["a dog"], ["fox"]])
    assert scores == [pytest.approx(_expected(2, 1, 2, 2)), 0, 0]


def test_the_real_wordnet() -> None:
    reason = meteor_available()
    if reason:
        pytest.skip(reason)
    # The example of nltk's own documentation.
    hypothesis = (
        "it is a guide to action which ensures that the military always obeys the commands of the "
        "party"
    )
    reference = (
        "it is a guide to action that ensures that the military will forever heed party commands"
    )
    assert meteor([hypothesis], [[reference]]) == [pytest.approx(0.6944, abs=5e-5)]
    assert meteor(["a photograph"], [["a photo"]]) == [pytest.approx(_expected(2, 1, 2, 2))]
