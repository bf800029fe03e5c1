"""The one place that guesses what a mistyped word meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def guess(word: str, choices: Iterable[str]) -> str:
    """` (did you mean "x"?)` for the nearest choice, case aside, or nothing if none is near."""
    known = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f' (did you mean "{known[near[0]]}"?)' if near else ""
