"""A checkpoint's checksums: written with it, and held against it before it is used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"


def seal(folder: Path) -> None:
    """Write `checksums.json`: size and SHA-256 of every file in the folder and below it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sums = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size,
            "sha256": _digest(path),
        }
        for path in files
        if path != folder / CHECKSUMS
    }
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def fault_of(checkpoint: Path, *, digests: bool = True) -> str | None:
    """The first file that is not what was written, and what is wrong with it; None if all are.

    A checkpoint without `checksums.json`, from before there was such a file, is taken as it is.

    Args:
        checkpoint: its folder.
        digests: False looks at sizes alone, which costs nothing.
    """
    file = checkpoint / CHECKSUMS
    if not file.exists():
        progress = checkpoint / "progress.json"
        return None if progress.is_file() else f"{progress}: missing"
    try:
        sums: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8"))
        faults = (_fault(checkpoint / name, one, digests) for name, one in sums.items())
        return next((fault for fault in faults if fault), None)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return f"{file}: cannot be read: {error}"


def _fault(file: Path, written: dict[str, Any], digests: bool) -> str | None:
    if not file.is_file():
        return f"{file}: missing"
    size = file.stat().st_size
    if size < written["size"]:
        return f"{file}: truncated: {size} of {written['size']} bytes"
    if size > written["size"]:
        return f"{file}: altered: {size} bytes in place of {written['size']}"
    try:
        altered = digests and _digest(file) != written["sha256"]
    except OSError as error:
        return f"{file}: cannot be read: {error}"
    return f"{file}: altered: its checksum differs" if altered else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
