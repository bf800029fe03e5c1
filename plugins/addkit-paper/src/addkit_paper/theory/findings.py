"""Results of theory, their measurements, and whether they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured number and the one that theory predicts."""

    what: str
    predicted: float
    measured: float
    tolerance: float
    """Absolute; of a sample mean, four standard errors unless a comment gives another."""
    relation: Literal["=", "<=", ">="] = "="
    """Relation of the measured number to the predicted one."""

    @property
    def holds(self) -> bool:
        """True if the relation is met within the tolerance."""
        above = self.measured - self.predicted
        low = self.relation == "<=" or above >= -self.tolerance
        high = self.relation == ">=" or above <= self.tolerance
        return low and high

    def data(self) -> dict[str, Any]:
        """For JSON."""
        names = ("what", "relation", "predicted", "measured", "tolerance", "holds")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Result:
    """A result of theory that a measurement can check."""

    name: str
    """Its argument on the command line."""
    statement: str
    """One sentence."""
    equation: str
    check: Callable[[], list[Measurement]]
    """Takes seconds, and returns the same numbers each time."""

    def find(self) -> Finding:
        """Measure the result."""
        return Finding(self, tuple(self.check()))


@dataclass(frozen=True, slots=True)
class Finding:
    """A result with its measurements."""

    result: Result
    measurements: tuple[Measurement, ...]

    @property
    def holds(self) -> bool:
        """True if every measurement holds."""
        return all(measurement.holds for measurement in self.measurements)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.result.name,
            "statement": self.result.statement,
            "equation": self.result.equation,
            "holds": self.holds,
            "measurements": [measurement.data() for measurement in self.measurements],
        }
