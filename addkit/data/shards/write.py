"""Writing shards: each whole or not at all, and only those that are missing."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import IO, TYPE_CHECKING
from zlib import crc32

from addkit.data.folders import FolderStore, names_below
from addkit.data.shards.index import (
    MEMBERS,
    Index,
    Members,
    Shard,
    SideFile,
    checksum,
    members_file,
)
from addkit.data.shards.plan import PlannedShard, Sample, Shardable, plan_shards, shardable
from addkit.errors import DataError
from addkit.plugin.protocols import DataSource
from addkit.runs.atomic import clean_temporaries, whole_file
from addkit.runs.lock import LOCK, MARKER, is_locked, locked

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


INSTEAD = "wait for it: shards that are whole stay and count"


@dataclass(frozen=True, slots=True)
class Written:
    """What is there after a run."""

    shards: tuple[Shard, ...]
    kept: int
    """How many shards were there before, and whole."""


def write_shards(
    source: DataSource,
    data: str,
    out: Path,
    *,
    seed: int,
    shard_size: int,
    jobs: int,
    told: Callable[[Shard, bool], None],
) -> Written:
    """Write what is missing of the shards of a data set, and their index last.

    Args:
        source: a data set whose images lie in files.
        data: the name of its component.
        out: folder of the shards, new or of an earlier run.
        seed: decides the order of the training images in the shards.
        shard_size: bytes of images after which a shard is closed.
        jobs: shards written at once.
        told: called with each shard that is there, and whether it was there before.

    Raises:
        UsageError: images that do not lie in files.
        RunError: another process writes to `out`.
        DataError: broken data, data that has changed since `out` was begun, a foreign folder, or a
            disk that cannot be written to.
    """
    images, store = shardable(source, data)
    _refuse_inside(out, store.root)
    with _explained(out):
        _refuse_foreign(out)
    plan = plan_shards(images, store.root, seed, shard_size)
    with _explained(out):
        # First, so that a folder that cannot be written is told of in words for shards.
        (out / MEMBERS).mkdir(parents=True, exist_ok=True)
    with locked(out, INSTEAD), _explained(out):
        for folder in (out, out / MEMBERS):
            clean_temporaries(folder)
        known = _known(out)
        _refuse_changed(out, plan, known)
        shards, kept = _written(out, plan, known, jobs, told)
        _index(images, store, data, shards, out, shard_size).write(out)
    return Written(tuple(shards), kept)


def refuse_busy(out: Path) -> None:
    """Raise `RunError` if another process writes to the folder, before data are looked at."""
    if is_locked(out):
        with locked(out, INSTEAD):
            pass


def _index(
    source: Shardable,
    store: FolderStore,
    data: str,
    shards: Sequence[Shard],
    out: Path,
    shard_size: int,
) -> Index:
    """Copies the files that go with it."""
    names = () if source.facts.pad is not None else source.facts.class_names
    left_out = tuple(sorted(names_below(store.root, store.left_out)))
    files = _copied(source.side_files, store.root, out)
    return Index.of(data, names, tuple(shards), files, left_out, shard_size)


def _known(out: Path) -> Mapping[str, Members]:
    """What an earlier run told of its shards, by their names, where that is unaltered."""
    try:
        recorded = {shard.name: shard.members_sha256 for shard in Index.read(out).shards}
    except DataError:
        recorded = {}
    known = {}
    for path in sorted((out / MEMBERS).glob("*.json")):
        name = f"{path.stem}.tar"
        with suppress(DataError):
            if recorded.get(name) in (None, checksum(path)):
                known[name] = Members.read(path)
    return known


def _refuse_changed(out: Path, plan: Sequence[PlannedShard], known: Mapping[str, Members]) -> None:
    digests = {shard.name: shard.digest for shard in plan}
    for name, members in known.items():
        if members.plan != digests.get(name):
            raise DataError(
                f"{out}: {name} was made of other images, captions, labels or times of change, or "
                "with another --shard-size or seed, than the recipe has now.\n"
                "Name a new folder, or remove this one."
            )


def _written(
    out: Path,
    plan: Sequence[PlannedShard],
    known: Mapping[str, Members],
    jobs: int,
    told: Callable[[Shard, bool], None],
) -> tuple[list[Shard], int]:
    shards, kept = [], 0
    with ThreadPoolExecutor(jobs) as pool:
        # Once an error or an interrupt leaves this loop, what has not begun is cancelled.
        for shard, before in pool.map(partial(_ensure, out, known), plan):
            told(shard, before)
            shards.append(shard)
            kept += before
    return shards, kept


def _ensure(out: Path, known: Mapping[str, Members], planned: PlannedShard) -> tuple[Shard, bool]:
    """The shard, and whether it was there before."""
    told, path = members_file(out, planned.name), out / planned.name
    members = known.get(planned.name)
    before = members is not None and path.is_file() and checksum(path) == members.sha256
    if members is None or not before:
        members = _write(path, planned)
        members.write(told)
    count = len(planned.samples)
    shard = Shard(planned.name, planned.split, count, members.bytes, members.sha256, checksum(told))
    return shard, before


def _write(path: Path, planned: PlannedShard) -> Members:
    with whole_file(path) as temporary:
        with _Hashed(temporary) as file:
            places = _pack(file, planned.samples)
        sha256, size = file.sha256.hexdigest(), temporary.stat().st_size
        if checksum(temporary) != sha256:
            raise DataError(f"{path}: the disk gives back other bytes than were written to it.")
    names = tuple(sample.name for sample in planned.samples)
    return Members(planned.digest, size, sha256, names, *places)


class _Hashed(io.BufferedWriter):
    """A new file that knows the checksum of what was written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "w"))
        self.sha256 = hashlib.sha256()

    def write(self, content: Buffer, /) -> int:
        self.sha256.update(content)
        return super().write(content)


def _pack(
    file: IO[bytes], samples: Sequence[Sample]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Offsets, lengths and CRC-32s of the images."""
    places = []
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            content = _content(sample)
            places.append((tar.offset + tarfile.BLOCKSIZE, len(content), crc32(content)))
            _add(tar, f"{sample.key}.{sample.suffix}", content)
            for suffix, note in sample.notes.items():
                _add(tar, f"{sample.key}.{suffix}", note)
    offsets, lengths, checks = zip(*places, strict=True)
    return offsets, lengths, checks


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """With nothing that differs between two runs, such as times."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _content(sample: Sample) -> bytes:
    try:
        content = Path(sample.path).read_bytes()
    except OSError as error:
        raise DataError(f"{sample.path}: cannot be read ({error.strerror}).") from error
    if len(content) != sample.size:
        raise DataError(
            f"{sample.path}: has changed while the shards were written. Give the command again "
            "when the data is at rest."
        )
    return content


def _copied(files: Sequence[Path], root: Path, out: Path) -> tuple[SideFile, ...]:
    """At their places below the root; those from elsewhere directly in `out`."""
    targets: dict[str, Path] = {}
    for file, name in zip(files, names_below(root, files), strict=True):
        name = file.name if Path(name).is_absolute() or name.startswith("..") else name
        other = targets.setdefault(name, file)
        if other != file:
            raise DataError(f"{other} and {file} would both become {out / name}. Rename one.")
    return tuple(_copy(file, out, name) for name, file in targets.items())


def _copy(file: Path, out: Path, name: str) -> SideFile:
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    clean_temporaries(path.parent)
    with whole_file(path) as temporary:
        copyfile(file, temporary)
    return SideFile(name, path.stat().st_size, checksum(path))


def _refuse_inside(out: Path, root: Path) -> None:
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{out} lies in {root}, among the images. Name a folder outside of it.")


def _others(out: Path) -> bool:
    """Whether anything but a lock, which a kill may leave, is in the folder."""
    return any(entry.name not in (LOCK, MARKER) for entry in out.iterdir())


def _refuse_foreign(out: Path) -> None:
    if out.is_file():
        raise DataError(f"{out} is a file. Name a folder.")
    if not out.is_dir() or (out / MEMBERS).is_dir() or not _others(out):
        return
    raise DataError(f"{out} holds other files. Name a new folder.")


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or out}: cannot be written ({error.strerror}). Shards that are whole "
            f"stay and count; mend this and give the command again."
        ) from error
