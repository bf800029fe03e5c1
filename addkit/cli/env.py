"""`addkit env`."""

from __future__ import annotations

from typing import Any

from addkit.cli.options import JsonOption


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
        rows: list[tuple[str, str]] = []
        for name, value in facts.items():
            if name in ("packages", "variables"):
                # Their names are unique by themselves.
                rows += [(key, _cell(entry)) for key, entry in value.items()]
            elif isinstance(value, dict):
                rows += [(f"{name} {key}", _cell(entry)) for key, entry in value.items()]
            elif isinstance(value, list):
                # A row even for an empty list: "no GPU" is a fact of a bug report.
                rows += [(name, _cell(entry)) for entry in value or [None]]
            else:
                rows.append((name, _cell(value)))
        output.table(["fact", "value"], rows, words=2)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(entry)}" for key, entry in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
