"""Random caption sets, and a WordNet of two words."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

CaptionSet = tuple[list[str], list[list[str]]]
WORDS = ["red", "blue", "cat", "dog", "on", "a", "big", "car", "tree", "bird"]


def _text(draw: random.Random, words: list[str], longest: int = 9) -> str:
    return " ".join(draw.choices(words, k=draw.randint(1, longest)))


def _prediction(draw: random.Random, words: list[str], references: list[str]) -> str:
    match draw.randrange(6):
        case 0:
            return draw.choice(references)
        case 1:
            return " ".join(draw.choice(references).split()[1:])  # may be empty
        case 2:
            return _text(draw, ["fox", "cow"])
        case 3:
            return _text(draw, words, longest=3)
        case _:
            return _text(draw, words)


def _caption_set(seed: int) -> CaptionSet:
    draw = random.Random(seed)
    words = WORDS[: draw.randint(2, len(WORDS))]
    longest = draw.choice([3, 9, 9, 14])
    images = range(draw.randint(1, 12))
    references = [[_text(draw, words, longest) for _ in range(draw.randint(1, 5))] for _ in images]
    return [_prediction(draw, words, texts) for texts in references], references


@pytest.fixture(scope="session")
def caption_sets() -> list[CaptionSet]:
    """200 random sets of captions and references; set 0 is all right, set 1 all wrong."""
    sets = [_caption_set(seed) for seed in range(200)]
    right, wrong = sets[0][1], sets[1][1]
    return [
        ([texts[-1] for texts in right], right),
        (["fox cow fox cow fox"] * len(wrong), wrong),
        *sets[2:],
    ]


WordNet = Callable[[Path], None]


@pytest.fixture
def write_wordnet() -> WordNet:
    """Writes the files of a WordNet in which `photo` and `pic` are one synset, no more."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        for part in ("noun", "verb", "adj", "adv"):
            for name in (f"data.{part}", f"index.{part}", f"{part}.exc"):
                (folder / name).write_text("")
        (folder / "data.noun").write_text("00000000 06 n 02 photo 0 pic 0 000 | a likeness\n")
        index = "".join(f"{word} n 1 0 1 0 00000000\n" for word in ("photo", "pic"))
        (folder / "index.noun").write_text(index)

    return write
