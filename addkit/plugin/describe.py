"""Describe a component: its settings, their types and ranges, and a table to paste."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from addkit.errors import UsageError, guess
from addkit.plugin.loading import Provided
from addkit.plugin.spec import KINDS
from addkit.recipe.toml import toml_value
from addkit.renamed import KINDS as RENAMED_KINDS
from addkit.renamed import renamed_to

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "string",
    Path: "path",
    type(None): "absent",
}

_SIGNS = {
    "gt": "above {}",
    "ge": "at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
    "min_length": "{} or more items",
    "max_length": "{} items at most",
}
"""Names of bounds in annotations -> their text."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a component's table."""

    name: str
    type: str
    required: bool
    default: str | None
    """TOML's text; None where the key is absent by default."""
    range: str
    meaning: str


def check_kind(kind: str) -> None:
    """Raise `UsageError` if there is no such kind."""
    kinds = [spec.kind for spec in KINDS]
    if kind not in kinds:
        hint = renamed_to(RENAMED_KINDS.get(kind)) or guess(kind.replace("-", "_"), kinds)
        raise UsageError(f'no kind is called "{kind}"{hint}. Kinds: {", ".join(kinds)}.')


def settings_of(config: type[BaseModel]) -> tuple[Setting, ...]:
    """The keys of a component's table except `name`, in their order."""
    settings = []
    for name, info in config.model_fields.items():
        required, default = info.is_required(), None
        if not required:
            default = _plain(info.get_default(call_default_factory=True))
        settings.append(
            Setting(
                name=name,
                type=_type(info.annotation),
                required=required,
                # TOML has no null: a default of None is a key that is absent.
                default=None if default is None else toml_value(default),
                range=", ".join(_bounds(info.metadata)),
                meaning=info.description or "",
            )
        )
    return tuple(settings)


def about(config: type[BaseModel]) -> str:
    """The docstring of the settings, with the equation and its source."""
    # Not inspect.getdoc, which would inherit the one of `Config`.
    own = config.__dict__.get("__doc__") or ""
    return inspect.cleandoc(own)


def paste(provided: Provided) -> str:
    """The component's table with every default; required keys have no value yet."""
    lines = [f"[{provided.spec.kind}]", f"name = {toml_value(provided.spec.name)}"]
    for setting in settings_of(provided.spec.settings):
        if setting.required:
            lines.append(f"{setting.name} =  # {setting.type}, must be given")
        elif setting.default is None:
            # Commented out, since there is no value that means absent.
            lines.append(f"# {setting.name} =  # {setting.type}")
        else:
            lines.append(f"{setting.name} = {setting.default}")
    return "\n".join(lines)


def described(provided: Provided) -> dict[str, Any]:
    """The whole description as JSON."""
    spec = provided.spec
    return {
        "kind": spec.kind,
        "name": spec.name,
        "summary": spec.summary,
        "distribution": provided.distribution,
        "version": provided.version,
        "about": about(spec.settings),
        "settings": [asdict(setting) for setting in settings_of(spec.settings)],
        "provides": sorted(spec.provides),
        "needs": dict(spec.needs),
        "table": paste(provided),
    }


def _plain(value: Any) -> Any:
    """A default as TOML can write it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _bounds(metadata: Iterable[Any]) -> Iterator[str]:
    for bound in metadata:
        # By attribute, since pydantic and annotated-types have classes of their own for each bound.
        for name, text in _SIGNS.items():
            value = getattr(bound, name, None)
            if value is not None:
                yield text.format(f"{value:g}" if isinstance(value, float) else value)


def _type(annotation: Any) -> str:
    # From annotations and not from pydantic's JSON schema, which makes "number" of a float and
    # "array" of a tuple of two, and needs its references resolved.
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, *notes = arguments
        # Field(ge=1) keeps its bounds in `metadata`; Ge(1) is one itself.
        inner = [part for note in notes for part in getattr(note, "metadata", [note])]
        bounds = ", ".join(_bounds(inner))
        return f"{_type(kind)} ({bounds})" if bounds else _type(kind)
    if origin is Literal:
        return " or ".join(toml_value(choice) for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type(member) for member in arguments if member is not type(None))
    if origin in (tuple, list, set, frozenset):
        # tuple[int, ...] has any length, tuple[float, float] exactly two.
        items = [item for item in arguments if item is not Ellipsis]
        kinds = " or ".join(dict.fromkeys(map(_type, items)))
        is_fixed = len(items) > 1 and Ellipsis not in arguments
        return f"list of {len(items)}: {kinds}" if is_fixed else f"list of: {kinds}"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
