"""JSON files of runs and ablations, read with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from addkit.errors import RunError

T = TypeVar("T")


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
    """The JSON file as a dataclass, each field checked; raises `RunError` naming every bad one."""
    try:
        return TypeAdapter(kind).validate_python(read_json(file))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(f"{file}: cannot be used: {faults}") from error
