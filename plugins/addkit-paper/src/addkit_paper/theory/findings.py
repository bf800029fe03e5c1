"""A result of theory, what was measured of it, and whether it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number beside what theory says of it."""

    what: str
    predicted: float
    measured: float
    tolerance: float
    """Absolute. Of drawn numbers it is four of their standard errors, or stated where it is not."""
    relation: Literal["=", "<=", ">="] = "="
    """What the measured number must be to the predicted one."""

    @property
    def holds(self) -> bool:
        """True if the relation is met within the tolerance."""
        above = self.measured - self.predicted
        low = self.relation == "<=" or above >= -self.tolerance
        high = self.relation == ">=" or above <= self.tolerance
        return low and high

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        names = ("what", "relation", "predicted", "measured", "tolerance", "holds")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Result:
    """A result of theory that can be checked by number."""

    name: str
    """What the command line calls it."""
    statement: str
    """One sentence."""
    equation: str
    check: Callable[[], list[Measurement]]
    """Seconds at most; the same numbers each time."""

    def find(self) -> Finding:
        """Check it."""
        return Finding(self, tuple(self.check()))


@dataclass(frozen=True, slots=True)
class Finding:
    """A result with its measurements."""

    result: Result
    measurements: tuple[Measurement, ...]

    @property
    def holds(self) -> bool:
        """True if every measurement does."""
        return all(measurement.holds for measurement in self.measurements)

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.result.name,
            "statement": self.result.statement,
            "equation": self.result.equation,
            "holds": self.holds,
            "measurements": [measurement.data() for measurement in self.measurements],
        }
