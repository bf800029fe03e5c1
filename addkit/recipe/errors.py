"""What is wrong with a recipe, and where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from addkit.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was written, as a person is told."""

    place: str
    """The file, or the whole `--set table.key=value`."""
    line: int = 0
    """Counted from 1; 0 if there is none to tell."""
    is_override: bool = False
    column: int = 0
    """Counted from 1; 0 if there is none to tell."""

    def __str__(self) -> str:
        return ":".join([self.place, *(str(at) for at in (self.line, self.column) if at)])


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where. The text says it all; the rest is for programs."""

    origin: Origin
    text: str
    key: str = ""
    """Dotted, from the top; empty for the file itself."""
    found: str | None = None
    """As TOML writes it, shortened."""
    allowed: str | None = None
    cause: BaseException | None = field(default=None, compare=False)
    """What broke the plugin that the recipe needs."""

    @property
    def guess(self) -> str | None:
        """What was probably meant."""
        guessed = re.search(r'\((?:did you mean|renamed to) "(.*?)"\??\)', self.text)
        return guessed[1] if guessed else None

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}"


class FaultyRecipeError(RecipeError):
    """A recipe that cannot be used, with everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple({str(fault): fault for fault in faults}.values())
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[type[FaultyRecipeError], tuple[tuple[Fault, ...]]]:
        """A worker hands it to the process that waits for it."""
        return type(self), (self.faults,)


def refuse(origin: Origin, text: str) -> FaultyRecipeError:
    """The error for a file that cannot be looked at any further."""
    return FaultyRecipeError([Fault(origin, text)])


def raise_if_any(faults: Iterable[Fault]) -> None:
    """Raise one error with a line for each fault, in the order of the files."""
    found = sorted(faults, key=_place)
    if found:
        raise FaultyRecipeError(found) from next(filter(None, (one.cause for one in found)), None)


def _place(fault: Fault) -> tuple[bool, str, int]:
    origin = fault.origin
    return origin.is_override, origin.place, origin.line
