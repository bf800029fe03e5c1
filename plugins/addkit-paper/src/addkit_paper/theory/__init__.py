"""Every result that `addkit theory` checks, in the order of docs/theory.md."""

from __future__ import annotations

from collections.abc import Sequence

from addkit.errors import UsageError, guess
from addkit_paper.theory import dependent, one_label, signal
from addkit_paper.theory.findings import Result

RESULTS: tuple[Result, ...] = (*one_label.RESULTS, *signal.RESULTS, *dependent.RESULTS)


def named(names: Sequence[str]) -> list[Result]:
    """The results of these names; none: all of them.

    Raises:
        UsageError: no such result.
    """
    known = {result.name: result for result in RESULTS}
    for name in names:
        if name not in known:
            raise UsageError(
                f'no result is called "{name}"{guess(name, list(known))}. Known: {", ".join(known)}'
            )
    return [known[name] for name in names] if names else list(RESULTS)
