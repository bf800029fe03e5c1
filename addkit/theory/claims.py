"""Every result that `addkit theory` checks, in the order of docs/theory.md."""

from __future__ import annotations

from collections.abc import Sequence

from addkit.errors import UsageError
from addkit.plugin.guess import guess
from addkit.theory import dependent, one_label, signal
from addkit.theory.findings import Claim

__all__ = ["CLAIMS", "named"]

CLAIMS: tuple[Claim, ...] = (*one_label.CLAIMS, *signal.CLAIMS, *dependent.CLAIMS)


def named(names: Sequence[str]) -> list[Claim]:
    """The claims of these names; none: all of them.

    Raises:
        UsageError: no such claim.
    """
    known = {claim.name: claim for claim in CLAIMS}
    for name in names:
        if name not in known:
            raise UsageError(
                f'no result is called "{name}"{guess(name, list(known))}. Known: {", ".join(known)}'
            )
    return [known[name] for name in names] if names else list(CLAIMS)
