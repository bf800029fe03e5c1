"""In which unit scores are stored, by their names."""

from __future__ import annotations

IN_PERCENT = ("top1", "top5", "ece")
SHARES = ("exact_match", "token_accuracy", "consistency", "length_accuracy")
"""Stored in [0, 1]."""


def one_image(score: str, count: int) -> float:
    """What one image more or less that is right changes in a share of `count` images."""
    return (100.0 if score in IN_PERCENT else 1.0) / count
