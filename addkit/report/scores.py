"""What scores are called on a page, in which unit, and how far one may be trusted."""

from __future__ import annotations

import math

from addkit.metrics.names import IN_PERCENT, SHARES

TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "nll": "NLL, nats",
    "brier": "Brier",
    "ece": "ECE",
    "count": "images",
    "exact_match": "exact match",
    "token_accuracy": "tokens right",
    "consistency": "consistent",
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider_d": "CIDEr-D",
    "distinct1": "distinct-1",
    "distinct2": "distinct-2",
    "length_accuracy": "length right",
    "clip_cosine": "CLIP cosine",
    "any_valid": "any chain valid",
}
OF_IMAGES = ("top1", "top5", "exact_match")
"""Shares of images that are right, each image right or not."""
Z = 1.96


def score_title(name: str) -> str:
    """With the unit."""
    unit = ", %" if name in IN_PERCENT + SHARES else ""
    return TITLES.get(name, name.replace("_", " ")) + unit


def axis_title(name: str, split: str) -> str:
    """The same, and of which images."""
    return f"{score_title(name)} ({split} split)"


def in_unit(name: str, value: float) -> float:
    """The value in the unit that its title names."""
    return 100 * value if name in SHARES else value


def score_text(name: str, value: float | None) -> str:
    """For a table's cell; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{in_unit(name, value):.{2 if name in IN_PERCENT + SHARES else 4}f}"


def score_interval(name: str, value: float, count: int | None) -> tuple[float, float] | None:
    """95 % interval over images, in the title's unit; None where the score is no share of them."""
    if name not in OF_IMAGES or not count:
        return None
    low, high = wilson(value if name in SHARES else value / 100, count)
    return 100 * low, 100 * high


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a binomial share (Wilson 1927).

    Args:
        share: in [0, 1].
        count: trials, at least 1.
    """
    shrink = 1 + Z**2 / count
    centre = (share + Z**2 / (2 * count)) / shrink
    half = Z / shrink * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    # Rounding must not leave the share outside.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
