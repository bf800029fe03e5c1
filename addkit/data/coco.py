"""MS COCO's captions of 2014."""

from __future__ import annotations

from collections.abc import Mapping

from addkit.data.augment import Augmenter
from addkit.data.caption_json import read_coco, read_karpathy
from addkit.data.captioned import CaptionedImages, Captions, CaptionTokens, caption_facts
from addkit.data.folders import missing_folder
from addkit.data.settings import CocoCaptionsConfig
from addkit.data.shards import open_store
from addkit.data.source import Source
from addkit.data.splits import held_out_count
from addkit.data.verify import shortened
from addkit.errors import DataError
from addkit.plugin.facts import DataFacts
from addkit.plugin.protocols import Tokenizer

_PUBLISHED = {
    "2014": {"train": 82_783, "test": 40_504},
    "karpathy": {"train": 113_287, "test": 5_000, "validation": 5_000},
}
_KARPATHY = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
_ARCHIVES = {
    "2014": "annotations_trainval2014.zip of cocodataset.org",
    "karpathy": "caption_datasets.zip of cs.stanford.edu/people/karpathy/deepimagesent",
}


class CocoCaptions(Source):
    """Photographs with about five captions each.

    Facts come from the caption files, and from the published numbers where one is missing, so
    that a plan can be made without the data. Opening `train` looks for the images of every split,
    so that training does not begin if some are missing; images are not verified.
    """

    def __init__(self, config: CocoCaptionsConfig, tokenizer: Tokenizer) -> None:
        """Raises `DataError` for caption files that are not as they should be."""
        layout = _Layout(config)
        self._layout, self.store, self.side_files = layout, layout.store, layout.caption_files
        self._captions: Mapping[str, Captions] = {}
        if any(not path.is_file() for path in layout.caption_files):
            super().__init__(_planned(config, layout, tokenizer))
            return
        self._captions = layout.karpathy() if config.split == "karpathy" else layout.of_2014()
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        super().__init__(caption_facts(config, self._tokens, layout.files))

    def _open(self, name: str, augmenter: Augmenter) -> CaptionedImages:
        if not self._captions:
            raise DataError(self._layout.missing_captions())
        needed = self._captions if name == "train" else (name,)
        self._layout.refuse_missing([path for one in needed for path in self._captions[one].names])
        references, captions = self._tokens.references[name], self._captions[name]
        images = self.store.images(captions.names, references.first(), self.pixels, augmenter)
        return CaptionedImages(images, references, captions, self._tokens.vocabulary)


class _Layout:
    """Where the files are."""

    def __init__(self, config: CocoCaptionsConfig) -> None:
        self.root = config.root.expanduser()
        self.store = open_store(self.root)
        self._config = config
        karpathy = config.split == "karpathy"
        captions = (config.karpathy,) if karpathy else (config.train_captions, config.val_captions)
        self.caption_files = tuple(self.store.file(self.root / path) for path in captions)
        self.image_folders = self.root / config.train_images, self.root / config.val_images
        self.files = self.store.reads((*self.caption_files, *self.image_folders))

    def of_2014(self) -> Mapping[str, Captions]:
        train, test = map(read_coco, self.caption_files)
        splits = {"train": train, "test": test}
        share, seed = self._config.validation, self._config.split_seed
        if share:
            splits["train"], splits["validation"] = train.split(share, seed, "validation")
        train_images, val_images = self.image_folders
        return {
            name: part.below(val_images if name == "test" else train_images)
            for name, part in splits.items()
        }

    def karpathy(self) -> Mapping[str, Captions]:
        (file,) = self.caption_files
        folders = dict(zip(("train2014", "val2014"), self.image_folders, strict=True))
        return read_karpathy(file, folders, _KARPATHY)

    def missing_captions(self) -> str:
        absent = [str(path) for path in self.caption_files if not path.is_file()]
        split = self._config.split
        return (
            f'{" and ".join(absent)} not found. With data.split = "{split}" COCO\'s captions come '
            f"from {_ARCHIVES[split]}.\nUnpack it there, or set data.root to where it is."
        )

    def refuse_missing(self, paths: list[str]) -> None:
        missing = self.store.missing(paths)
        if not missing:
            return
        gone = [missing_folder(folder) for folder in self.image_folders if not folder.is_dir()]
        raise DataError(
            f"{self.root}: {len(missing)} of {len(paths)} images are missing:\n  "
            f"{shortened(gone or missing)}\nUnpack train2014.zip and val2014.zip of "
            "cocodataset.org there, or set data.train_images and data.val_images."
        )


def _planned(config: CocoCaptionsConfig, layout: _Layout, tokenizer: Tokenizer) -> DataFacts:
    vocabulary = tokenizer.learn(())
    # A tokenizer of words knows its size beforehand only where the recipe limits it.
    size = getattr(tokenizer, "max_size", None)
    if size is None and vocabulary.unknown is not None:
        raise DataError(
            f"{layout.missing_captions()}\nFor a dry run without them set tokenizer.max_size: "
            "else only the captions tell how many words there are."
        )
    return DataFacts(
        num_classes=size or len(vocabulary.tokens),
        class_names=() if size else vocabulary.tokens,
        image_size=config.image_size,
        image_channels=config.image_channels,
        mean=config.mean,
        std=config.std,
        shorter_side=config.image_size,
        split_sizes=_published(config),
        files=layout.files,
        num_tokens=config.max_tokens,
        pad=vocabulary.pad,
        unknown=vocabulary.unknown,
    )


def _published(config: CocoCaptionsConfig) -> Mapping[str, int]:
    sizes = _PUBLISHED[config.split]
    held = held_out_count(sizes["train"], config.validation)
    return {**sizes, "train": sizes["train"] - held, "validation": held} if held else sizes
