"""The files that describe a folder of shards: reading, writing and checking them."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from operator import add
from pathlib import Path, PurePath
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter, ValidationError

from addkit.data.text_files import parse_json, read_text
from addkit.errors import DataError
from addkit.runs.atomic import write_text
from addkit.terminal import addkit_command

INDEX = "shards.json"
MEMBERS = "members"
_VERSION = 1

_AGAIN = "Give the `addkit data shard` command that wrote it again: it writes what is missing."

T = TypeVar("T", bound="Index | Members")


def _texts(values: object) -> tuple[str, ...]:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    raise ValueError("a list of texts is needed")


def _inside(name: str) -> str:
    path = PurePath(name)
    if not path.parts or path.anchor or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} is no file in this folder")
    return name


def _in_folder(name: str) -> str:
    if len(PurePath(_inside(name)).parts) != 1:
        raise ValueError(f"{name!r} is no file directly in this folder")
    return name


Names = Annotated[tuple[str, ...], PlainValidator(_texts)]
"""File names. Not by pydantic, which refuses the surrogates of names that are no UTF-8."""
Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file."""

    name: Annotated[str, AfterValidator(_in_folder)]
    split: str
    samples: Count
    bytes: Count
    sha256: str
    members_sha256: str
    """Checksum of the file that lists its members."""


@dataclass(frozen=True, slots=True)
class SideFile:
    """A file next to the shards, such as one of captions."""

    name: Annotated[str, AfterValidator(_inside)]
    bytes: Count
    sha256: str


@dataclass(frozen=True, slots=True)
class Members:
    """The images of one shard, in the order of the file."""

    plan: str
    """Digest of what it was written from: names, sizes, times and annotations."""
    bytes: Count
    """Size of the shard."""
    sha256: str
    names: Names
    """Each image's path in the folder that the shards were made of."""
    offsets: tuple[Count, ...]
    lengths: tuple[Count, ...]
    crc32: tuple[Count, ...]

    @classmethod
    def read(cls, path: Path) -> Members:
        """Raises `DataError` if it cannot be used."""
        return _read(path, cls)

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        write_text(path, json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True)
class Index:
    """All shards of a folder."""

    version: int
    data: str
    """The component that read the folder, such as `image-folder`."""
    class_names: tuple[str, ...]
    """By the class id that the shards' .cls contain; for readers other than addkit."""
    shards: tuple[Shard, ...]
    files: tuple[SideFile, ...]
    left_out: Names
    """Images that could not be read and therefore are in no shard."""
    shard_size: int | None = None
    """Bytes of images after which a shard was closed; None in older indexes."""

    @classmethod
    def of(
        cls,
        data: str,
        class_names: tuple[str, ...],
        shards: tuple[Shard, ...],
        files: tuple[SideFile, ...],
        left_out: tuple[str, ...],
        shard_size: int,
    ) -> Index:
        """In the present version."""
        return cls(_VERSION, data, class_names, shards, files, left_out, shard_size)

    @classmethod
    def read(cls, root: Path) -> Index:
        """Raises `DataError` for an index that is missing, damaged or of a newer version."""
        return _read(root / INDEX, cls)

    def write(self, root: Path) -> None:
        """Whole or not at all."""
        write_text(root / INDEX, json.dumps(asdict(self), indent=1) + "\n")

    def members(self, root: Path) -> list[Members]:
        """The members of each shard. Raises `DataError` for a file that is missing or altered."""
        members = []
        for shard in self.shards:
            path = members_file(root, shard.name)
            content = Members.read(path)
            if checksum(path) != shard.members_sha256:
                raise DataError(f"{path}: altered since it was written. {_AGAIN}")
            columns = content.names, content.offsets, content.lengths, content.crc32
            counts = {len(column) for column in columns} | {shard.samples}
            ends = map(add, content.offsets, content.lengths)
            if (
                len(counts) > 1
                or content.bytes != shard.bytes
                or max(ends, default=0) > shard.bytes
            ):
                raise DataError(
                    f"{path}: its counts or sizes are not those that {root / INDEX} has for "
                    f"{shard.name}. {_AGAIN}"
                )
            members.append(content)
        names = [name for content in members for name in content.names]
        if len(set(names)) < len(names):
            raise DataError(f"{root / INDEX}: its shards contain an image twice. {_AGAIN}")
        return members


def members_file(root: Path, shard: str) -> Path:
    """The file that lists a shard's members."""
    return root / MEMBERS / f"{Path(shard).stem}.json"


def is_sharded(root: Path) -> bool:
    """True for a folder of shards. Raises `DataError` if they were not finished."""
    # The index is written last, so its shards are complete.
    if (root / INDEX).is_file():
        return True
    if (root / MEMBERS).is_dir() and any(root.glob("*-[0-9]*.tar")):
        raise DataError(f"{root}: its shards are not finished ({INDEX} is missing). {_AGAIN}")
    return False


def checksum(path: Path) -> str:
    """The file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, layout: type[T]) -> T:
    try:
        content = parse_json(read_text(path), str(path), _AGAIN)
        version = content.get("version") if isinstance(content, dict) else None
        # Before the layout is validated, since a newer version may have another one.
        if isinstance(version, int) and version > _VERSION:
            raise DataError(
                f"{path}: of version {version}; this addkit reads {_VERSION}.\n"
                "Update addkit, or write the shards again with this one."
            )
        return TypeAdapter(layout).validate_python(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, fault["loc"]))
        raise DataError(f"{path}: damaged ({key}: {fault['msg']}). {_AGAIN}") from error


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that differs from what was written."""

    file: str
    problem: str


@dataclass(frozen=True, slots=True)
class _Expected:
    path: Path
    sha256: str
    bytes: int | None = None

    def problem(self) -> Broken | None:
        """Reads the whole file."""
        try:
            size = self.path.stat().st_size
            # The size first: it spares reading a file that was cut short.
            if self.bytes is not None and size != self.bytes:
                return Broken(str(self.path), f"{size:,} bytes, and {self.bytes:,} were written")
            if checksum(self.path) != self.sha256:
                return Broken(str(self.path), "altered: another checksum")
        except OSError as error:
            return Broken(str(self.path), f"cannot be read ({error.strerror})")
        return None


def verify_shards(out: Path, jobs: int = 1) -> tuple[tuple[Shard, ...], list[Broken]]:
    """The shards that the index names, and the files that are missing or have another checksum.

    Raises `DataError` if there is no index that can be used.
    """
    if not out.is_dir():
        raise DataError(f"{out}: no such folder.")
    if not is_sharded(out):
        again = addkit_command("data", "shard", "RECIPE", out)
        raise DataError(f"{out}: contains no shards. `{again}` writes some.")
    index = Index.read(out)
    expected = []
    for shard in index.shards:
        expected.append(_Expected(out / shard.name, shard.sha256, shard.bytes))
        expected.append(_Expected(members_file(out, shard.name), shard.members_sha256))
    # Side files too: captions are read from the copy next to the shards.
    expected += [_Expected(out / file.name, file.sha256, file.bytes) for file in index.files]
    # Threads suffice: hashing releases the interpreter's lock.
    with ThreadPoolExecutor(jobs) as pool:
        problems = list(pool.map(_Expected.problem, expected))
    return index.shards, [problem for problem in problems if problem is not None]
