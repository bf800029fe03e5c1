"""A pack: a trained model as one zip file, or as the folder of its members. No torch.

recipe.toml        the recipe, without pretrained weights and without paths of a machine
facts.json         facts of the data
manifest.json      weights, scores, versions, plugins with hashes: `PackManifest`
model.safetensors  the weights
KIND-KEY.ENDING    files that components read at inference, such as a tokenizer's
checksums.json     size and SHA-256 of each file above
README.md          the model card, which may be edited: it has no checksum

A pack comes from others: nothing in it is executed, and only files that its checksums name are
read. Names, kinds, sizes and counts of members are checked before one is written.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import IO, Literal, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from addkit.errors import RunError
from addkit.plugin.values import DataFacts
from addkit.recipe import Ablation, Recipe
from addkit.recipe.files import RECIPE
from addkit.recipe.tables import SHARED_TABLES
from addkit.recipe.toml import shortened
from addkit.runs.atomic import CHECKSUMS
from addkit.runs.checkpoint_files import fault_of
from addkit.runs.disk import disk_errors
from addkit.runs.folder import Manifest, read_typed

CARD, FACTS, MANIFEST, WEIGHTS = "README.md", "facts.json", "manifest.json", "model.safetensors"
REQUIRED = (RECIPE, FACTS, MANIFEST, WEIGHTS)
FORMAT = 1
"""Grows when an older addkit could not read a newer pack."""
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
"""Names of files: no folder, no hidden file, and the same on every system."""
ENDINGS = (".json", ".txt", ".safetensors")
"""Formats of files that components read: reading them executes nothing."""
NOT_BUILT = ("data", "tracker")
"""Kinds that inference does not build: files that their settings name are not packed."""

MOST_MEMBERS = 64
MOST_TEXT = 2**26
"""Bytes of a file that has no tensors, 64 MiB."""
MOST_BYTES = 2**36
"""Bytes of all files, 64 GiB."""
MOST_RATIO = 100
"""Of a member's size to its size in the zip; text compresses to a twentieth at most."""
AT_ONCE = 2**20
"""Bytes that are read from a zip at a time."""
MOST_FACTS = {
    "num_classes": 10**7,
    "num_tokens": 2**14,
    "image_channels": 64,
    "image_size": 2**14,
    "shorter_side": 2**14,
}
"""The largest numbers in facts.json."""


class PackManifest(Manifest):
    """manifest.json of a pack: the part of a run's that is not about its machine."""

    format: int
    weights: Literal["ema", "raw"]
    """Which of the run's weights are packed; `scores` has theirs alone."""
    step: int | None
    """Of the checkpoint that they come from."""
    controls: dict[str, dict[str, int | float | None]]
    """`Run.model_name` of each matched control -> scores of the same weights on the test split."""

    @property
    def plugins(self) -> tuple[str, ...]:
        """Packages and files whose components it needs, each with version and hash."""
        identities = self.environment.components.values()
        # `NAME (IDENTITY)` each.
        providers = (identity.partition(" (")[2].removesuffix(")") for identity in identities)
        return tuple(dict.fromkeys(each for each in providers if not each.startswith("addkit ")))


def is_pack(folder: Path) -> bool:
    """True for a folder with a pack's files; neither a run nor a checkpoint has both of these."""
    return (folder / RECIPE).is_file() and (folder / CHECKSUMS).is_file()


def check_pack(folder: Path) -> None:
    """Compare each file of a pack with its checksum. Raises `RunError` for a file that is missing,
    altered, too large or of a name that no pack has.
    """
    names = listed(folder)
    for path in (folder / name for name in names if not name.endswith(".safetensors")):
        if path.is_file() and path.stat().st_size > MOST_TEXT:
            raise RunError(f"{path}: larger than {MOST_TEXT:,} bytes")
    if fault := fault_of(folder):
        raise RunError(f"{fault}; fetch the pack again")


def listed(folder: Path) -> list[str]:
    """The names in a pack's checksums. Raises `RunError` for one that no pack has."""
    file = folder / CHECKSUMS
    try:
        if file.stat().st_size > AT_ONCE:
            raise RunError(f"{file}: larger than {AT_ONCE:,} bytes")
        names = list(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{file}: no checksums of a pack: {error}") from error
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in (CHECKSUMS, CARD):
            raise RunError(f"{file}: {name!r}: no file of a pack has this name")
        if name not in REQUIRED and not name.endswith(ENDINGS):
            raise RunError(f"{file}: {name}: a pack's other files end in {', '.join(ENDINGS)}")
    if lost := [name for name in REQUIRED if name not in names]:
        raise RunError(f"{file}: lists no {lost[0]}, which every pack has")
    return names


def pack_manifest(folder: Path) -> PackManifest:
    """Its manifest; raises `RunError` for a pack that a newer addkit made."""
    manifest = read_typed(folder / MANIFEST, PackManifest)
    if manifest.format > FORMAT:
        raise RunError(f"{folder}: a pack of format {manifest.format}; upgrade addkit to read it")
    return manifest


# Reading a zip.


class _InParts(io.FileIO):
    """A file that is read in small parts: a forged list of members must not fill the memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > AT_ONCE:
            raise BadZipFile(f"its list of members has {size:,} bytes")
        return super().read(size) or b""


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """Yield a temporary folder with the checked files of a zip; it is deleted at the end. Raises
    `RunError` if the zip is no pack, is damaged, or has a member that no pack has.
    """
    with TemporaryDirectory(prefix="addkit-") as place:
        # With the zip's name, since errors and warnings name files in it.
        folder = Path(place) / file.name
        try:
            with _InParts(file) as stream, ZipFile(cast("IO[bytes]", stream)) as archive:
                members = _checked_members(archive, file)
                with disk_errors(folder):
                    folder.mkdir()
                    for name, member in members.items():
                        with archive.open(member) as source, (folder / name).open("xb") as target:
                            copyfileobj(source, target, AT_ONCE)
        # The last three: names that are no UTF-8, and checksums that are no object.
        except (
            *(BadZipFile, zlib.error, EOFError, NotImplementedError),
            *(ValueError, TypeError, RecursionError),
        ) as error:
            raise RunError(f"{file}: no pack, or a damaged one: {error}") from error
        except OSError as error:
            raise RunError(f"{file}: cannot be read: {error.strerror or error}") from error
        check_pack(folder)
        yield folder


def _checked_members(archive: ZipFile, file: Path) -> dict[str, ZipInfo]:
    """The members to unpack, by name; raises `RunError` for a zip that is no pack."""
    members: dict[str, ZipInfo] = {}
    if len(archive.infolist()) > MOST_MEMBERS:
        raise RunError(f"{file}: {len(archive.infolist()):,} members; at most {MOST_MEMBERS}")
    for member in archive.infolist():
        # Not `filename`, which Python cuts at a zero byte.
        name = member.orig_filename
        if fault := _fault_of(member):
            raise RunError(f"{file}: member {name!r}: {fault}; no pack has such a member")
        if name.casefold() in map(str.casefold, members):
            raise RunError(f"{file}: two members are named {name!r}")
        members[name] = member
    total = sum(member.file_size for member in members.values())
    if total > MOST_BYTES:
        raise RunError(f"{file}: {total:,} bytes when unpacked; at most {MOST_BYTES:,}")
    if lost := [name for name in (CHECKSUMS, *REQUIRED) if name not in members]:
        raise RunError(f"{file}: no pack: it has no {lost[0]}; `addkit pack` writes one")
    if members[CHECKSUMS].file_size > AT_ONCE:
        raise RunError(f"{file}: {CHECKSUMS}: larger than {AT_ONCE:,} bytes")
    names = json.loads(archive.read(CHECKSUMS))
    # What was added, such as a licence or pictures of the card, stays in the zip.
    return {name: members[name] for name in (CHECKSUMS, *names) if name in members}


def _fault_of(member: ZipInfo) -> str | None:
    """Why a member is refused; None if it is not."""
    name, mode = member.orig_filename, member.external_attr >> 16
    paths = PurePosixPath(name), PureWindowsPath(name)
    if (
        not name.isprintable()
        or "\\" in name
        or any(path.anchor or ".." in path.parts for path in paths)
    ):
        return "its name leads out of the folder"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link, a device or a pipe"
    if member.flag_bits & 1:
        return "encrypted"
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return f"compressed by method {member.compress_type}"
    if member.file_size > MOST_RATIO * member.compress_size:
        return f"{member.compress_size:,} bytes that become {member.file_size:,}"
    return None


# Facts and recipes without a machine.


def check_facts(facts: DataFacts, folder: Path) -> None:
    """Raise `RunError` for numbers that no data set has: a network of such a size must not be built
    to be compared with the weights.
    """
    for name, most in MOST_FACTS.items():
        if not 1 <= getattr(facts, name) <= most:
            found = shortened(getattr(facts, name))
            raise RunError(f"{folder / FACTS}: {name} must be from 1 to {most:,}, found {found}")


def portable(recipe: Recipe) -> tuple[Recipe, dict[str, Path]]:
    """The recipe as a pack has it, and the files that inference reads, by their names in the pack.

    Without pretrained weights, which the pack's own replace, without arms of an ablation, and with
    the last part of paths that are absolute or lead upwards. Raises `RunError` if inference needs a
    path that cannot be packed.
    """
    files: dict[str, Path] = {}
    choices = {}
    for kind, choice in recipe.choices.items():
        config, settings = choice.config.from_scratch(), {}
        for key, value in config:
            if kind in NOT_BUILT:
                settings[key] = _placeless(value)
                continue
            place = str(value) if isinstance(value, str | Path) else ""
            if not isinstance(value, Path):
                if _is_absolute(place):
                    raise RunError(f"[{kind}] {key} = {place!r} is a path of this machine alone")
                continue
            name = f"{kind}-{key}{value.suffix}"
            if not value.expanduser().is_file() or value.suffix not in ENDINGS:
                raise RunError(
                    f"[{kind}] {key} = {place!r} cannot be packed: a file that ends in "
                    f"{', '.join(ENDINGS)} can"
                )
            files[name], settings[key] = value.expanduser(), Path(name)
        choices[kind] = replace(choice, config=config.model_copy(update=settings))
    shared = {
        name: (table := getattr(recipe, name)).model_copy(
            update={key: _placeless(value) for key, value in table}
        )
        for name in SHARED_TABLES
    }
    shared["ablation"] = Ablation.model_validate({})
    return replace(recipe, choices=choices, **shared), files


def _placeless(value: object) -> object:
    """A setting with the last part of each path that is absolute or leads upwards."""
    match value:
        case Path() if _is_absolute(str(value)) or ".." in value.parts:
            return Path(PureWindowsPath(value).name)
        case str() if _is_absolute(value):
            return PureWindowsPath(value).name
        case tuple() | list():
            return type(value)(map(_placeless, value))
        case dict():
            return {key: _placeless(each) for key, each in value.items()}
    return value


def _is_absolute(text: str) -> bool:
    return text.startswith("~") or bool(PurePosixPath(text).root or PureWindowsPath(text).anchor)


def located(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe of a pack, with the places of its own files. Raises `RunError` if inference would
    read another file.
    """
    names, choices = listed(folder), {}
    for kind, choice in recipe.choices.items():
        paths = {k: v for k, v in choice.config if isinstance(v, Path) and kind not in NOT_BUILT}
        for key, path in paths.items():
            if str(path) not in names:
                raise RunError(f"{folder}: [{kind}] {key} = {str(path)!r}: no file of this pack")
        settings = {key: folder / path for key, path in paths.items()}
        choices[kind] = replace(choice, config=choice.config.model_copy(update=settings))
    return replace(recipe, choices=choices)
