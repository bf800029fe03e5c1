"""What a person is told of a component: its settings, their ranges, and a table to paste."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

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
"""Names of bounds in annotations -> how they are told."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a component's table."""

    name: str
    type: str
    required: bool
    default: str | None
    """As TOML writes it; None where the key is absent by default."""
    range: str
    meaning: str


def check_kind(kind: str) -> None:
    """Raise `UsageError` if there is no such kind."""
    kinds = [one.kind for one in KINDS]
    if kind not in kinds:
        hint = renamed_to(RENAMED_KINDS.get(kind)) or guess(kind.replace("-", "_"), kinds)
        raise UsageError(f'no kind is called "{kind}"{hint}. Kinds: {", ".join(kinds)}.')


def settings_of(config: type[BaseModel]) -> tuple[Setting, ...]:
    """The keys of a component's table beside `name`, in their order."""
    return tuple(_setting(name, info) for name, info in config.model_fields.items())


def about(config: type[BaseModel]) -> str:
    """What the config's own docstring says, the equation and its source among it."""
    own = config.__dict__.get("__doc__") or ""
    return inspect.cleandoc(own)


def paste(provided: Provided) -> str:
    """The component's table with every default written down, and what must be given left open."""
    lines = [f"[{provided.spec.kind}]", f"name = {toml_value(provided.spec.name)}"]
    for setting in settings_of(provided.spec.settings):
        if setting.required:
            lines.append(f"{setting.name} =  # {setting.type}, must be given")
        elif setting.default is None:
            lines.append(f"# {setting.name} =  # {setting.type}")
        else:
            lines.append(f"{setting.name} = {setting.default}")
    return "\n".join(lines)


def described(provided: Provided) -> dict[str, Any]:
    """All of it, as JSON has it."""
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


def _setting(name: str, info: FieldInfo) -> Setting:
    return Setting(
        name=name,
        type=_type(info.annotation),
        required=info.is_required(),
        default=None if info.is_required() else _default(info),
        range=", ".join(_bounds(info.metadata)),
        meaning=info.description or "",
    )


def _default(info: FieldInfo) -> str | None:
    value = _plain(info.get_default(call_default_factory=True))
    return None if value is None else toml_value(value)


def _plain(value: Any) -> Any:
    """A default as TOML can write it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _bounds(metadata: Iterable[Any]) -> Iterator[str]:
    for one in metadata:
        for name, words in _SIGNS.items():
            value = getattr(one, name, None)
            if value is not None:
                yield words.format(f"{value:g}" if isinstance(value, float) else value)


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments)
    if origin is Literal:
        return " or ".join(toml_value(one) for one in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type(one) for one in arguments if one is not type(None))
    if origin in (tuple, list, set, frozenset):
        return _list(arguments)
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _annotated(arguments: tuple[Any, ...]) -> str:
    kind, *notes = arguments
    inner = [part for note in notes for part in getattr(note, "metadata", [note])]
    bounds = ", ".join(_bounds(inner))
    return f"{_type(kind)} ({bounds})" if bounds else _type(kind)


def _list(arguments: tuple[Any, ...]) -> str:
    items = [one for one in arguments if one is not Ellipsis]
    kinds = " or ".join(dict.fromkeys(_type(one) for one in items))
    is_fixed = len(items) > 1 and Ellipsis not in arguments
    return f"list of {len(items)}: {kinds}" if is_fixed else f"list of: {kinds}"
