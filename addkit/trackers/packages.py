"""Import of a tracker's package, and the name and the stored id of its tracked run."""

from __future__ import annotations

import secrets
from importlib import import_module
from pathlib import Path
from typing import Any

from addkit.errors import PluginError


def package(module: str, tracker: str, extra: str) -> Any:
    """The module of an optional package. Raises `PluginError` with the command that installs it."""
    # When the tracker is built: a missing package stops a training before it begins.
    try:
        return import_module(module)
    except ImportError as error:
        raise PluginError(
            f'tracker.name = "{tracker}" needs the package {error.name or module}, which is not '
            f'installed. Install it with: pip install "addkit[{extra}]"'
        ) from error


def run_title(run: Path, title: str | None) -> str:
    """The name of a tracked run: the given title, or the name of the run's folder; that of a
    control, whose folder is within the run's, names its head too.
    """
    run = run.absolute()
    if run.parent.name == "controls":
        return f"{title or run.parent.parent.name}, control {run.name}"
    return title or run.name


def stored_id(file: Path) -> str:
    """The id in the file, which is made and stored at first."""
    if not file.exists():
        file.write_text(f"{secrets.token_hex(8)}\n", "utf-8")
    return file.read_text("utf-8").strip()
