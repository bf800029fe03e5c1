"""How scores of any task are shown: columns by name, percent and shares alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TITLES = {
    "top1": "top-1 %",
    "top5": "top-5 %",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE %",
    "count": "images",
    "exact_match": "exact",
    "token_accuracy": "tokens",
    "consistency": "consistent",
    "bleu1": "B-1",
    "bleu2": "B-2",
    "bleu3": "B-3",
    "bleu4": "B-4",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider_d": "CIDEr-D",
    "distinct1": "dist-1",
    "distinct2": "dist-2",
    "length_accuracy": "length",
    "clip_cosine": "CLIP",
    "any_valid": "any",
}
MEANINGS = {
    "exact_match": "whole answers right",
    "token_accuracy": "labels right",
    "consistency": "answers whose labels occur together in training",
    "distinct1": "words, and dist-2 pairs of words, that differ",
    "repeats": "captions with a word twice in a row",
    "length_accuracy": "captions as long as a reference",
    "valid": "chains that say a right caption",
    "any_valid": "images with a valid chain",
    "coverage": "right captions that the chains find",
}
"""What a share counts, where its title does not say."""
DIGITS = {"top1": 2, "top5": 2, "nll": 4, "brier": 4, "ece": 2}


def score_columns(scores: Mapping[str, Any]) -> list[str]:
    """A title for each score."""
    return [TITLES.get(name, name) for name in scores]


def legend(scores: Iterable[str]) -> str:
    """A line on those of the scores that need one; empty if none does."""
    told = [f"{TITLES.get(name, name)}: {MEANINGS[name]}" for name in scores if name in MEANINGS]
    return f"shares of 1: {'; '.join(told)}" if told else ""


def score_cells(scores: Mapping[str, Any]) -> list[str]:
    """A text for each score; a dash where there is none."""
    return [_cell(name, value) for name, value in scores.items()]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{DIGITS.get(name, 3)}f}"
