"""Writing shards: each whole or not at all, and only those that are missing."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING
from zlib import crc32

from addkit.data.folders import names_below
from addkit.data.shards.index import (
    INDEX,
    MEMBERS,
    Index,
    Members,
    Shard,
    SideFile,
    checksum,
    members_file,
)
from addkit.data.shards.plan import PlannedShard, plan_shards, shardable
from addkit.errors import DataError
from addkit.plugin.protocols import DataSource
from addkit.runs.atomic import clean_temporaries, whole_file
from addkit.runs.disk import disk_errors
from addkit.runs.lock import is_lock, is_locked, locked

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


INSTEAD = "wait for it: shards that are whole stay and count"


@dataclass(frozen=True, slots=True)
class Written:
    """The shards that exist after a run."""

    shards: tuple[Shard, ...]
    kept: int
    """The number of them that existed before, and whole."""


_NAMES = rf"{re.escape(INDEX)}|.+-\d+\.(tar|json)"
_WRITTEN = re.compile(rf"{_NAMES}|\.({_NAMES})\..*tmp")
"""Names of the files that make a folder of shards, copies of side files aside."""


def write_shards(
    source: DataSource,
    data: str,
    out: Path,
    *,
    seed: int,
    shard_size: int,
    jobs: int,
    report: Callable[[Shard, bool], None],
) -> Written:
    """Write the missing shards of a data set, and their index last.

    Args:
        source: a data set whose images are files.
        data: the name of its component.
        out: folder of the shards, new or of an earlier run.
        seed: decides the order of the training images in the shards.
        shard_size: bytes of images after which a shard is closed.
        jobs: shards written at once.
        report: called with each shard once it exists, and whether it existed before.

    Raises:
        UsageError: images that are no files.
        RunError: another process writes to `out`.
        DataError: broken data, data that has changed since `out` was begun, a foreign folder, or a
            disk that cannot be written to.
    """
    images, store = shardable(source, data)
    with _explained(out):
        if out.resolve().is_relative_to(store.root.resolve()):
            raise DataError(
                f"{out} is in {store.root}, among the images. Name a folder outside of it."
            )
        if out.is_file():
            raise DataError(f"{out} is a file. Name a folder.")
        if out.is_dir() and not _is_begun(out):
            raise DataError(f"{out} contains other files. Name a new folder.")
    plan = plan_shards(images, store.root, seed, shard_size)
    # Before the lock, which would explain a folder that cannot be written in words for runs.
    with disk_errors(out / MEMBERS):
        (out / MEMBERS).mkdir(parents=True, exist_ok=True)
    with locked(out, INSTEAD), _explained(out):
        # What a killed run left; under the lock, so that no other run is writing it.
        for folder in (out, out / MEMBERS):
            clean_temporaries(folder, _NAMES)
        recorded = _recorded(out, plan)
        shards, kept = [], 0
        with ThreadPoolExecutor(jobs) as pool:
            # An error or an interrupt that leaves this loop cancels what has not begun.
            for shard, existed in pool.map(partial(_ensure, out, recorded), plan):
                report(shard, existed)
                shards.append(shard)
                kept += existed
        # Names of classes explain the .cls files; captions have none.
        names = () if images.facts.pad is not None else images.facts.class_names
        left_out = tuple(sorted(names_below(store.root, store.left_out)))
        files = _copied(images.side_files, store.root, out)
        Index.of(data, names, tuple(shards), files, left_out, shard_size).write(out)
    return Written(tuple(shards), kept)


def _is_begun(out: Path) -> bool:
    """True for a folder that shards are written to, however a killed process left it."""
    members = [file for file in (out / MEMBERS).glob("*-*.json") if _WRITTEN.fullmatch(file.name)]
    if any((out / f"{file.stem}.tar").is_file() for file in members):
        return True
    # No shard yet. A file of any other name is a user's, and a shard or a side file could replace
    # it; a killed process left its lock and its temporary files.
    files = (*out.iterdir(), *(out / MEMBERS).glob("*"))
    return all(
        file == out / MEMBERS or is_lock(file) or _WRITTEN.fullmatch(file.name) for file in files
    )


def refuse_busy(out: Path) -> None:
    """Raise `RunError` if another process writes to the folder, before any data are read."""
    if is_locked(out):
        with locked(out, INSTEAD):
            pass


def _recorded(out: Path, plan: Sequence[PlannedShard]) -> Mapping[str, Members]:
    """The members of an earlier run's shards, by their names, where those files are unaltered.

    Raises `DataError` if one was made of other data than is planned.
    """
    try:
        checksums = {shard.name: shard.members_sha256 for shard in Index.read(out).shards}
    except DataError:
        checksums = {}  # the run did not reach its index
    digests = {shard.name: shard.digest for shard in plan}
    recorded = {}
    for path in sorted((out / MEMBERS).glob("*.json")):
        name = f"{path.stem}.tar"
        if checksums.get(name) not in (None, checksum(path)):
            continue
        try:
            members = Members.read(path)
        except DataError:
            continue  # written again, like a file that was altered
        if members.plan != digests.get(name):
            raise DataError(
                f"{out}: {name} was made of other images, captions, labels or times of change, or "
                "with another --shard-size or seed, than the recipe has now.\n"
                "Name a new folder, or remove this one."
            )
        recorded[name] = members
    return recorded


def _ensure(
    out: Path, recorded: Mapping[str, Members], planned: PlannedShard
) -> tuple[Shard, bool]:
    """The shard, and whether it existed before."""
    record, path = members_file(out, planned.name), out / planned.name
    members = recorded.get(planned.name)
    existed = members is not None and path.is_file() and checksum(path) == members.sha256
    if members is None or not existed:
        members = _write(path, planned)
        # After the tar file, so that a record without its shard is never trusted.
        members.write(record)
    # Of the record too, so that an altered one is noticed.
    count, sha256 = len(planned.samples), checksum(record)
    shard = Shard(planned.name, planned.split, count, members.bytes, members.sha256, sha256)
    return shard, existed


def _write(path: Path, planned: PlannedShard) -> Members:
    offsets, lengths, checks = [], [], []
    with whole_file(path) as temporary:
        with (
            _Hashed(temporary) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for sample in planned.samples:
                try:
                    content = Path(sample.path).read_bytes()
                except OSError as error:
                    text = f"{sample.path}: cannot be read ({error.strerror})."
                    raise DataError(text) from error
                if len(content) != sample.size:
                    raise DataError(
                        f"{sample.path}: has changed while the shards were written. Give the "
                        "command again when the data is at rest."
                    )
                # A member's header fills one block, and its content follows.
                offsets.append(tar.offset + tarfile.BLOCKSIZE)
                lengths.append(len(content))
                checks.append(crc32(content))
                _add(tar, f"{sample.key}.{sample.suffix}", content)
                for suffix, note in sample.notes.items():
                    _add(tar, f"{sample.key}.{suffix}", note)
        # Read back, since a failing disk may return other bytes than were written.
        sha256, size = file.sha256.hexdigest(), temporary.stat().st_size
        if checksum(temporary) != sha256:
            raise DataError(f"{path}: the disk gives back other bytes than were written to it.")
    names = tuple(sample.name for sample in planned.samples)
    columns = tuple(offsets), tuple(lengths), tuple(checks)
    return Members(planned.digest, size, sha256, names, *columns)


class _Hashed(io.BufferedWriter):
    """A new file with the checksum of the bytes written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "w"))
        self.sha256 = hashlib.sha256()

    def write(self, content: Buffer, /) -> int:
        self.sha256.update(content)
        return super().write(content)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # Without times and owners, which differ between two runs.
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _copied(files: Sequence[Path], root: Path, out: Path) -> tuple[SideFile, ...]:
    """Copy files to their names below the root; those from elsewhere directly to `out`."""
    targets: dict[str, Path] = {}
    for file, name in zip(files, names_below(root, files), strict=True):
        name = file.name if Path(name).is_absolute() or name.startswith("..") else name
        other = targets.setdefault(name, file)
        if other != file:
            raise DataError(f"{other} and {file} would both become {out / name}. Rename one.")
    copies = []
    for name, file in targets.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        clean_temporaries(path.parent, re.escape(path.name))
        with whole_file(path) as temporary:
            copyfile(file, temporary)
        copies.append(SideFile(name, path.stat().st_size, checksum(path)))
    return tuple(copies)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or out}: cannot be written ({error.strerror}). Shards that are whole "
            f"stay and count; repair this and repeat the command."
        ) from error
