"""Shapes at the seams between components, so that a wrong one is told and not broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from addkit.errors import PluginError


def shaped(given: Any, wanted: Sequence[int | str], kind: str, what: str, maker: str = "") -> Any:
    """The tensor itself.

    Args:
        given: what a component gave.
        wanted: its sizes; a word stands for any size.
        kind: of the component.
        what: it is, such as "a condition".
        maker: the component's name and package, if it is not addkit's own.

    Raises:
        PluginError: it is no tensor, or has another shape.
    """
    found = getattr(given, "shape", None)
    if found is not None and len(found) == len(wanted):
        pairs = zip(found, wanted, strict=True)
        if all(isinstance(size, str) or one == size for one, size in pairs):
            return given
    told = f"type {type(given).__name__}" if found is None else f"shape {tuple(found)}"
    shape = ", ".join(map(str, wanted))
    alone = "; `addkit plugins check` tries it alone" if maker else ""
    who = f"the {kind} {maker}".strip()
    raise PluginError(f"{who} gave {what} of {told}, not ({shape}){alone}")
