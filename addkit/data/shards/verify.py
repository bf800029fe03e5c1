"""Reading every shard again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from addkit.data.shards.index import Index, Shard, checksum, is_sharded, members_file
from addkit.errors import DataError


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that is not as it was written."""

    file: str
    problem: str


@dataclass(frozen=True, slots=True)
class _Expected:
    path: Path
    sha256: str
    bytes: int | None = None


def verify_shards(out: Path, jobs: int = 1) -> tuple[tuple[Shard, ...], list[Broken]]:
    """The shards that the index names, and which files are missing or have another checksum.

    Raises `DataError` if there is no index that can be used.
    """
    if not out.is_dir():
        raise DataError(f"{out}: no such folder.")
    if not is_sharded(out):
        raise DataError(f"{out}: holds no shards. `addkit data shard RECIPE {out}` writes some.")
    index = Index.read(out)
    with ThreadPoolExecutor(jobs) as pool:
        problems = list(pool.map(_problem, _expected(out, index)))
    return index.shards, [one for one in problems if one is not None]


def _expected(out: Path, index: Index) -> Iterator[_Expected]:
    for shard in index.shards:
        yield _Expected(out / shard.name, shard.sha256, shard.bytes)
        yield _Expected(members_file(out, shard.name), shard.members_sha256)
    for file in index.files:
        yield _Expected(out / file.name, file.sha256, file.bytes)


def _problem(file: _Expected) -> Broken | None:
    try:
        size = file.path.stat().st_size
        if file.bytes is not None and size != file.bytes:
            return Broken(str(file.path), f"{size:,} bytes, and {file.bytes:,} were written")
        if checksum(file.path) != file.sha256:
            return Broken(str(file.path), "altered: another checksum")
    except OSError as error:
        return Broken(str(file.path), f"cannot be read ({error.strerror})")
    return None
