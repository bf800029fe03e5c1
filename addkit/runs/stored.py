"""JSON files of runs and ablations, read with errors that name the file and the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from addkit.errors import RunError

T = TypeVar("T")


class Stored(BaseModel):
    """A JSON object whose known keys are checked and whose other keys are kept."""

    # Kept, since another version of addkit may have written them. Strict: "3" is no number.
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class Environment(Stored):
    """Software and hardware of a training."""

    python: str | None = None
    packages: dict[str, str | None] = {}
    """Name -> version; None where it is not installed."""
    platform: str | None = None
    device: str | None = None
    cores: int | None = None
    threads: int | None = None
    components: dict[str, str] = {}
    """Kind -> `NAME (IDENTITY)`."""


class Manifest(Stored):
    """manifest.json: what a training has recorded so far; every key is absent at first."""

    recipe: str | None = None
    model_name: str | None = None
    seed: int | None = None
    headline: str | None = None
    """The task's own score."""
    status: str = "not begun"
    """`running` or `finished`; a killed training stays `running`."""
    plan: dict[str, int | float] = {}
    """Batches, steps and the peak learning rate."""
    parameters: dict[str, int] = {}
    data: dict[str, object] = {}
    """Notes of the data set."""
    environment: Environment = Environment()
    # int too: counts would become floats otherwise, in every output that prints them.
    scores: dict[str, dict[str, int | float | None]] = {}
    """Weights, `ema` or `raw` -> scores on the test split; empty before the end."""
    seconds: float | None = None
    """Time spent training, over all sessions."""
    command_started: str | None = None
    trained: str | None = None
    finished: str | None = None
    chosen_steps: int | None = None
    """Sampling steps chosen on the validation split, for `steps = "auto"`."""
    chosen_from: dict[str, float] = {}
    """Candidate steps -> headline."""

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the whole training."""
        return int(self.plan["steps"]) if "steps" in self.plan else None


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; raises `RunError` if there is none."""
    try:
        stored = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from error
    if not isinstance(stored, dict):
        raise RunError(f"{file}: not a JSON object")
    return stored


def read_typed(file: Path, kind: type[T]) -> T:
    """The JSON file as a dataclass or model; raises `RunError` naming every key of a wrong type."""
    try:
        # Not `validate_json`: an error of syntax is another one, with its own message.
        return TypeAdapter(kind).validate_python(read_json(file))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(f"{file}: cannot be used: {faults}") from error
