"""The paper's table 3 in words, for a terminal or a page. No torch, no matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TABLE3 = ("exact_match", "bleu4", "cider_d", "rouge_l", "repeats", "length_accuracy")
"""Scores of the texts, beside those by CLIP."""
CLIP_COLUMNS = ("CLIP cosine", "95 %", "CLIP-S", "RefCLIP-S", "share %")


def clip_cells(row: Mapping[str, Any]) -> list[str]:
    """A cell for each of `CLIP_COLUMNS`; dashes where there is no CLIP score."""
    if row["clip_cosine"] is None:
        return ["-"] * len(CLIP_COLUMNS)
    reference, share = row["ref_clip_score"], row["share"]
    return [
        f"{row['clip_cosine']:.4f}",
        f"{row['low']:.4f} to {row['high']:.4f}",
        f"{row['clip_score']:.4f}",
        "-" if reference is None else f"{reference:.4f}",
        "-" if share is None else f"{100 * share:.1f}",
    ]
