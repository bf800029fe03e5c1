"""Errors of recipes: each fault with the place where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from addkit.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Origin:
    """The file and line, or the override, in which something was written."""

    place: str
    """The file, or the whole `--set table.key=value`."""
    line: int = 0
    """Counted from 1; 0 if it has none."""
    is_override: bool = False
    column: int = 0
    """Counted from 1; 0 if it has none."""

    def __str__(self) -> str:
        return ":".join([self.place, *(str(at) for at in (self.line, self.column) if at)])


@dataclass(frozen=True, slots=True)
class Fault:
    """One error of a recipe. The text is complete; the other fields are for programs."""

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
        """The name that was probably meant."""
        # Read from the text, so that what people and programs are given cannot differ.
        guessed = re.search(r'\((?:did you mean|renamed to) "(.*?)"\??\)', self.text)
        return guessed[1] if guessed else None

    def data(self) -> dict[str, str | int | None]:
        """The fault as JSON."""
        return {
            "file": self.origin.place,
            "line": self.origin.line or None,
            "key": self.key,
            "text": self.text,
            "found": self.found,
            "allowed": self.allowed,
            "guess": self.guess,
        }

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}"


class FaultyRecipeError(RecipeError):
    """A recipe that cannot be used, with everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple({str(fault): fault for fault in faults}.values())
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[type[FaultyRecipeError], tuple[tuple[Fault, ...]]]:
        """Pickle the faults, for a worker process that raises it.

        By default pickle would call the class with the text, from which no fault can be built.
        """
        return type(self), (self.faults,)


def refuse(origin: Origin, text: str) -> FaultyRecipeError:
    """The error for a file that cannot be checked any further."""
    return FaultyRecipeError([Fault(origin, text)])


def raise_if_any(faults: Iterable[Fault]) -> None:
    """Raise one error with a line for each fault, in the order of the files."""

    def place(fault: Fault) -> tuple[bool, str, int]:
        # Overrides last: they change what the files say, and are read after them.
        return fault.origin.is_override, fault.origin.place, fault.origin.line

    ordered = sorted(faults, key=place)
    if ordered:
        causes = (fault.cause for fault in ordered if fault.cause is not None)
        raise FaultyRecipeError(ordered) from next(causes, None)
