"""Finding files that are no readable images, before training does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from addkit.data import DataWarning
from addkit.data.folders import Listing
from addkit.data.images import check_image
from addkit.errors import DataError

_CHUNK = 256
_SHOWN = 20


def missing_files(paths: Sequence[str]) -> list[str]:
    """Those that do not exist. Each folder is listed once; no file is touched."""
    present: dict[str, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in present:
            present[folder] = _entries(folder)
        if name not in present[folder]:
            missing.append(path)
    return missing


def shortened(lines: Sequence[str]) -> str:
    """The first 20 lines, indented, and how many more there are."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n  ".join([*lines[:_SHOWN], *more])


def sound_images(
    listing: Listing, root: Path, skip: bool, others: Sequence[Listing] = ()
) -> Listing:
    """The files of the listing that are readable images; each is decoded once.

    With `skip` the others are left out, with one `DataWarning` for each; without it they raise
    one `DataError` that names them all, and those of the `others`, the data's other splits.
    """
    problems = _problems(listing.paths)
    bad = [problem for problem in problems if problem is not None]
    if bad and not skip:
        paths = [path for other in others for path in other.paths]
        bad += [problem for problem in _problems(paths) if problem is not None]
        raise DataError(
            f"{root}: {len(bad)} of {len(listing) + len(paths)} files cannot be used:\n  "
            + "\n  ".join(bad)
            + '\nRepair or remove them, or set data.bad_files = "skip" to leave them out.'
        )
    for problem in bad:
        warnings.warn(f"left out {problem}", DataWarning, stacklevel=2)
    return listing.at([i for i, problem in enumerate(problems) if problem is None])


def _entries(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in os.scandir(folder or os.curdir))
    except OSError:
        return frozenset()


def _problems(paths: Sequence[str]) -> list[str | None]:
    # In chunks, since a pool holds an object for each task it is given.
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(chain.from_iterable(pool.map(_chunk_problems, chunks)))


def _chunk_problems(paths: Sequence[str]) -> list[str | None]:
    return [_problem(path) for path in paths]


def _problem(path: str) -> str | None:
    try:
        check_image(Path(path))
    except DataError as error:
        return str(error)
    return None
