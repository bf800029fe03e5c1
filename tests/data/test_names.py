from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from addkit.data.names import NameFinder

CAFE = "café"
NFD = unicodedata.normalize("NFD", CAFE)


@pytest.fixture
def finder(tmp_path: Path) -> NameFinder:
    for name in (
        *(f"{CAFE}/1.png", "Cat/Big.PNG", "dog/a.png", "dog/a.txt", "dog/b.png", "dog/b.jpg"),
        *("dog/ONE.png", "dog/one.PNG"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return NameFinder.below(tmp_path)


@pytest.mark.parametrize(
    ("written", "name", "differs"),
    [
        (f"{NFD}/1.png", f"{CAFE}/1.png", "Unicode form"),
        ("Cat\\Big.PNG", "Cat/Big.PNG", "backslashes"),
        (".\\cat\\big.png", "Cat/Big.PNG", "backslashes, case"),
        ("Cat/Big", "Cat/Big.PNG", "missing ending"),
        (f"{NFD.upper()}/1", f"{CAFE}/1.png", "case, missing ending"),
        # Its annotations lie beside the image.
        ("dog/a", "dog/a.png", "missing ending"),
    ],
)
def test_names_that_differ_in_form(
    finder: NameFinder, written: str, name: str, differs: str
) -> None:
    near = finder.same(written)
    assert near is not None
    assert (near.name, near.differs) == (name, differs)
    assert finder.similar(written) == name


# One of two, another ending, no such file, and one that exists as it is.
@pytest.mark.parametrize("written", ["dog/b", "dog/oNe.png", "dog/a.jpg", "Cat/x.png", "dog/a.png"])
def test_other_names_are_not_taken_for_the_same(finder: NameFinder, written: str) -> None:
    assert finder.same(written) is None


def test_similar_names(finder: NameFinder, tmp_path: Path) -> None:
    assert finder.similar("dog/a.jpg") == "dog/a.png"
    assert finder.similar("Cats/Big.PNG") == "Cat"
    assert finder.similar("zebra.png") is None
    assert NameFinder.below(tmp_path / "none").similar("a.png") is None
    absolute = NameFinder.below(Path()).same(str(tmp_path / "cat" / "Big.png"))
    assert absolute is not None
    assert absolute.name == str(tmp_path / "Cat" / "Big.PNG")
