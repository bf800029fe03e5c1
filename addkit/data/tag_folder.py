"""The user's own images in folders named after tags; an image in several folders has them all."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from addkit.data.equal_files import equal_files
from addkit.data.folders import FolderStore, class_files, missing_folder, names_below
from addkit.data.image_folder import split_folders
from addkit.data.listed_images import hold_out_listed
from addkit.data.settings import TagFolderConfig
from addkit.data.tags import TaggedImage, TaggedImages
from addkit.errors import DataError


class TagFolder(TaggedImages):
    """One folder for each tag. Files with the same bytes in several of them are one image.

    With train/ and test/ (or val/) those are the splits; else `test_share` is held out. It has no
    shards, which would keep one of the equal files and so one of their tags.
    """

    def __init__(self, config: TagFolderConfig) -> None:
        """Raises `DataError` for a missing root, or folders without files."""
        root = config.root.expanduser()
        if not root.is_dir():
            raise DataError(
                f"data.root: {missing_folder(root)}\n"
                "Name the folder of your tags' folders: --set data.root=FOLDER."
            )
        store = FolderStore(root)
        folders = split_folders(root, store)
        splits: Mapping[str, Sequence[TaggedImage]] = {
            name: _images(root, folder, store)
            for name, folder in (folders or {"train": root}).items()
        }
        shares = {"test": 0 if folders else config.test_share}
        for purpose, share in {**shares, "validation": config.validation}.items():
            if share and purpose not in splits:
                splits = hold_out_listed(root, splits, purpose, share, config.split_seed)
        super().__init__(config, store, root, root, splits, tuple(folders.values()) or (root,))


def _images(root: Path, folder: Path, store: FolderStore) -> list[TaggedImage]:
    by_tag = class_files(folder, store, 1)
    pairs = [(path, tag) for tag, paths in by_tag.items() for path in paths]
    paths = [path for path, _ in pairs]
    # Without a limit of time: an image whose copies are missed would lack their tags.
    first = {p: group[0] for group in equal_files(paths, math.inf).groups for p in group}
    tags: dict[int, set[str]] = defaultdict(set)
    for position, (_, tag) in enumerate(pairs):
        tags[first.get(position, position)].add(tag)
    names: Sequence[str] = names_below(root, paths)
    return [
        TaggedImage(names[position], paths[position], frozenset(own))
        for position, own in tags.items()
    ]
