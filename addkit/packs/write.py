"""Writes a pack: `addkit.runs.packs` describes its files.

The same run gives the same bytes, wherever it lies: members have a fixed order, time and mode, and
are not compressed, since libraries compress differently and weights hardly shrink.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copyfileobj
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from addkit.errors import AddkitWarning, UsageError, require_type
from addkit.model.predictor import find_trained, load, step_in, weights_of
from addkit.packs.card import card
from addkit.recipe import dump_recipe
from addkit.recipe.files import RECIPE
from addkit.runs import Run
from addkit.runs.atomic import CHECKSUMS, json_text, whole_file
from addkit.runs.checkpoint_files import checksum_of, digest_of
from addkit.runs.folder import Environment
from addkit.runs.packs import (
    CARD,
    FACTS,
    FORMAT,
    MANIFEST,
    WEIGHTS,
    PackManifest,
    is_pack,
    portable,
)

FIRST_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can have."""
AT_ONCE = 2**20
"""Bytes that are copied at a time."""
LICENCE = "unknown"
"""What a hub takes for a licence that is not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A pack that was written."""

    file: Path
    size: int
    """Bytes."""
    sha256: str
    weights: str
    """`ema` or `raw`."""
    members: tuple[str, ...]
    plugins: tuple[str, ...]
    """Packages and files that must be installed to load it, with versions and hashes."""


def pack(
    run: Path | str, file: Path | str, *, weights: str = "ema", license: str = LICENCE
) -> Packed:
    """Write a run's trained model as one zip, and load it from there once.

    Args:
        run: the run, or one of its checkpoints.
        file: of the pack, ending in .zip; it must not exist, unless it is the same pack.
        weights: `ema` (the averaged ones; raw where the run was trained without) or `raw`.
        license: the licence of the weights for the model card, such as `apache-2.0`.

    Raises:
        UsageError: a wrong ending, a file that exists, or a pack in place of a run.
        RunError: no such run, damaged weights, or a setting that cannot be packed.
    """
    require_type("run", run, str, Path)
    require_type("file", file, str, Path)
    run, file = Path(run), Path(file)
    if file.suffix.lower() != ".zip":
        raise UsageError(f"{file}: the name of a pack ends in .zip")
    contents, manifest = pack_contents(run, weights=weights, license=license)
    with whole_file(file) as temporary:
        _write_zip(temporary, contents)
        digest = digest_of(temporary)
        if file.exists() and not (file.is_file() and digest_of(file) == digest):
            raise UsageError(f"{file}: exists, and differs; choose another name, or move it away")
        # What cannot be loaded here cannot be loaded elsewhere. Warnings would name a temporary.
        with warnings.catch_warnings(action="ignore", category=AddkitWarning):
            load(temporary)
    return Packed(
        file=file,
        size=file.stat().st_size,
        sha256=digest,
        weights=manifest.weights,
        members=tuple(contents),
        plugins=manifest.plugins,
    )


def pack_contents(
    path: Path, *, weights: str = "ema", license: str = LICENCE
) -> tuple[dict[str, bytes | Path], PackManifest]:
    """The members of a run's pack in order, each a text or the file to copy, and its manifest.
    Raises as `pack`.
    """
    if (path.is_file() and path.parent.name != "checkpoints") or is_pack(path):
        raise UsageError(f"{path}: is a pack, or no run; give the run that it was made of")
    run, checkpoint = find_trained(path)
    recipe, facts = run.recipe(tracked=False), run.facts()
    weights, file = weights_of(run, checkpoint, recipe, weights)
    manifest = _manifest(run, checkpoint, weights)
    plain, files = portable(recipe)
    # Where the data lay is nobody's business.
    texts = {
        RECIPE: dump_recipe(plain),
        FACTS: json_text({**asdict(facts), "files": []}),
        MANIFEST: json_text(manifest.model_dump(exclude_unset=True)),
    }
    members: dict[str, bytes | Path] = {name: text.encode() for name, text in texts.items()}
    members |= {**files, WEIGHTS: file}
    checksums = {
        name: checksum_of(content)
        if isinstance(content, Path)
        else {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members.items()
    }
    text = card(recipe, facts, manifest, license)
    members = {CARD: text.encode(), CHECKSUMS: json_text(checksums).encode(), **members}
    return members, manifest


def _manifest(run: Run, checkpoint: Path, weights: str) -> PackManifest:
    """The run's manifest without its machine; scores only if they are of these weights."""
    manifest = run.manifest()
    scored = manifest.status == "finished" and checkpoint == find_trained(run.path)[1]
    scores = {weights: manifest.scores[weights]} if scored and weights in manifest.scores else {}
    kept = manifest.model_dump(
        include={"recipe", "seed", "headline", "status", "plan", "parameters", "trained"}
        | {"chosen_steps", "chosen_from", "stopped_step", "thresholds"},
        exclude_unset=True,
    )
    never = manifest.never_predicted if next(iter(manifest.scores), None) in scores else []
    software = manifest.environment.model_dump(include={"python", "packages", "components"})
    software["components"].pop("tracker", None)
    return PackManifest(
        format=FORMAT,
        model_name=run.model_name,
        step=step_in(run, checkpoint),
        weights=weights,  # type: ignore[arg-type]  # `weights_of` gives no other
        **kept,
        environment=Environment(**software),
        scores=scores,
        never_predicted=never,
        controls={
            control.model_name: control.scores()[weights]
            for control in run.controls().values()
            if scores and weights in control.scores()
        },
    )


def _write_zip(file: Path, members: Mapping[str, bytes | Path]) -> None:
    with ZipFile(file, "x", ZIP_STORED) as archive:
        for name, content in members.items():
            info = ZipInfo(name, FIRST_TIME)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            if isinstance(content, bytes):
                archive.writestr(info, content)
                continue
            # Known before it is written, so that the header is the short one below 2 GiB.
            info.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(info, "w") as target:
                copyfileobj(source, target, AT_ONCE)
