"""Opens what names a trained model: a run, a checkpoint, a pack, a URL, a hub's repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from addkit.runs.packs import check_pack, is_pack, unpacked
from addkit.runs.remote import download, hub_folder, is_remote


@contextmanager
def opened(where: str | Path) -> Iterator[Path]:
    """Yield the folder of a run, a checkpoint or a pack, or a checkpoint's pointer.

    A pack's files are checked before it is yielded; the folder of a zip is deleted at the end.

    Args:
        where: a path, `https://...`, or `hf://ORG/NAME@REVISION`.

    Raises:
        UsageError, RunError: see `unpacked`, `download` and `hub_folder`.
    """
    if is_remote(where):
        path = hub_folder(where) if where.startswith("hf://") else download(where)[0]
    else:
        path = Path(where)
    if is_pack(path):
        check_pack(path)
    # `latest` and `best` are files that name a checkpoint.
    if path.is_file() and path.parent.name != "checkpoints":
        with unpacked(path) as folder:
            yield folder
    else:
        yield path
