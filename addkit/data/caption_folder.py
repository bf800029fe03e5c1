"""The user's own pictures and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from addkit.data.augment import Augmenter
from addkit.data.caption_rows import read_captions
from addkit.data.captioned import CaptionedImages, Captions, CaptionTokens, caption_facts
from addkit.data.folders import Listing, missing_folder
from addkit.data.settings import CaptionFolderConfig
from addkit.data.shards import open_store
from addkit.data.source import Source
from addkit.data.verify import shortened
from addkit.errors import DataError
from addkit.plugin.protocols import Tokenizer


class CaptionFolder(Source):
    """Images in a folder with a file of their captions.

    `test_share` of the images is held out, whatever their captions. Building reads the captions
    and looks for the images; opening a split verifies its images once. `facts.split_sizes` counts
    images that have captions: a split that skips bad files is shorter.
    """

    def __init__(self, config: CaptionFolderConfig, tokenizer: Tokenizer) -> None:
        """Raises `DataError` for missing folders and images, and for captions that are unfit."""
        self._config = config
        self._root = config.root.expanduser()
        folder = self._root / config.images
        if not self._root.is_dir():
            raise DataError(f"data.root: {missing_folder(self._root)}")
        self.store = open_store(self._root)
        if not self.store.is_dir(folder):
            raise DataError(f"data.images: {missing_folder(folder)}")
        file = self.store.file(self._root / config.captions)
        self.side_files = (file,)
        splits = self._split(read_captions(file, config))
        self._captions = {name: part.below(folder) for name, part in splits.items()}
        self._refuse_missing()
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        self._sound: dict[str, Sequence[int]] = {}
        super().__init__(caption_facts(config, self._tokens, self.store.reads((file, folder))))

    def _split(self, pool: Captions) -> Mapping[str, Captions]:
        config = self._config
        rest, test = pool.split(config.test_share, config.split_seed, "test")
        if not len(test):
            raise DataError(
                f"{self._root / config.captions}: one image leaves none to test with. Add images."
            )
        if not config.validation:
            return {"train": rest, "test": test}
        train, held = rest.split(config.validation, config.split_seed, "validation")
        return {"train": train, "test": test, "validation": held}

    def _refuse_missing(self) -> None:
        paths = [path for part in self._captions.values() for path in part.names]
        missing = self.store.missing(sorted(paths))
        if len(missing) == len(paths):
            raise DataError(
                f"{self._root}: none of the {len(paths)} images exists, among them {missing[0]}. "
                "Set data.images to their folder."
            )
        if missing and self._config.bad_files == "stop":
            raise DataError(
                f"{self._root}: {len(missing)} of {len(paths)} images are missing:\n  "
                f"{shortened(missing)}\nAdd them, set data.images to their folder, or set "
                'data.bad_files = "skip" to leave them out.'
            )

    def _open(self, name: str, augmenter: Augmenter) -> CaptionedImages:
        if name not in self._sound:
            self._sound[name] = self._checked(name)
        positions = self._sound[name]
        captions = self._captions[name].at(positions)
        references = self._tokens.references[name].at(positions)
        images = self.store.images(captions.names, references.first(), self.pixels, augmenter)
        return CaptionedImages(images, references, captions, self._tokens.vocabulary)

    def _checked(self, name: str) -> Sequence[int]:
        """Positions of the images that can be read."""
        own = _listing(self._captions[name])
        others = [_listing(part) for split, part in self._captions.items() if split != name]
        skip = self._config.bad_files == "skip"
        sound = self.store.sound(own, self._root, skip, others).labels
        if not sound:
            raise DataError(f"{self._root}: no image of {name} can be read. Add images.")
        return sound


def _listing(captions: Captions) -> Listing:
    return Listing(captions.names, tuple(range(len(captions.names))))
