"""`addkit env`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addkit.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator


def env(json: JsonOption = False) -> None:
    """Print versions, devices and settings for a bug report, without secrets.

    addkit env
    """
    from addkit.cli.environment import environment
    from addkit.cli.output import Output

    facts = environment()
    output = Output(json=json)
    if json:
        output.data(facts)
    else:
        output.table(["what", "value"], list(_rows(facts)), words=2)


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if name in ("packages", "variables"):
            yield from ((key, _cell(entry)) for key, entry in value.items())
        elif isinstance(value, dict):
            yield from ((f"{name} {key}", _cell(entry)) for key, entry in value.items())
        elif isinstance(value, list):
            yield from ((name, _cell(entry)) for entry in value or [None])
        else:
            yield name, _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(entry)}" for key, entry in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
