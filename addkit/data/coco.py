"""MS COCO's captions of 2014, and the readers of COCO's json and of Karpathy's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import FailFast, TypeAdapter, ValidationError

from addkit.data.augmentation import Augmenter
from addkit.data.captions import CaptionedImages, Captions, CaptionTokens, caption_facts
from addkit.data.folders import missing_folder, shortened
from addkit.data.settings import CocoCaptionsConfig
from addkit.data.shards import open_store
from addkit.data.source import Source, facts_of, held_out_count
from addkit.data.text_files import read_text
from addkit.errors import DataError
from addkit.plugin.protocols import Tokenizer
from addkit.plugin.values import DataFacts

_PUBLISHED = {
    "2014": {"train": 82_783, "test": 40_504},
    "karpathy": {"train": 113_287, "test": 5_000, "validation": 5_000},
}
# restval: the images of val2014 that are in neither of his validation and test splits.
_KARPATHY = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
_ARCHIVES = {
    "2014": "annotations_trainval2014.zip of cocodataset.org",
    "karpathy": "caption_datasets.zip of cs.stanford.edu/people/karpathy/deepimagesent",
}


class CocoCaptions(Source):
    """Photographs with about five captions each.

    Facts come from the caption files, and from the published numbers where one is missing, so
    that a plan can be made without the data. Opening `train` checks that the images of every split
    exist, so that no training starts without some of them; images are not verified.
    """

    def __init__(self, config: CocoCaptionsConfig, tokenizer: Tokenizer) -> None:
        """Raises `DataError` for caption files of another layout."""
        self._config = config
        self._root = root = config.root.expanduser()
        self.store = open_store(root)
        karpathy = config.split == "karpathy"
        captions = (config.karpathy,) if karpathy else (config.train_captions, config.val_captions)
        self.side_files = tuple(self.store.file(root / path) for path in captions)
        self._folders = root / config.train_images, root / config.val_images
        files = self.store.reads((*self.side_files, *self._folders))
        self._captions: Mapping[str, Captions] = {}
        if any(not path.is_file() for path in self.side_files):
            super().__init__(self._published_facts(tokenizer, files))
            return
        if karpathy:
            folders = dict(zip(("train2014", "val2014"), self._folders, strict=True))
            self._captions = read_karpathy(self.side_files[0], folders, _KARPATHY)
        else:
            train, test = map(read_coco, self.side_files)
            splits = {"train": train}
            if config.validation:
                splits["train"], splits["validation"] = train.split(
                    config.validation, config.split_seed, "validation"
                )
            splits = {name: part.below(self._folders[0]) for name, part in splits.items()}
            # In this order, which `facts.split_sizes` and every list of the splits follow.
            test = test.below(self._folders[1])
            self._captions = {"train": splits.pop("train"), "test": test, **splits}
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        super().__init__(caption_facts(config, self._tokens, files))

    def _published_facts(self, tokenizer: Tokenizer, files: tuple[Path, ...]) -> DataFacts:
        config = self._config
        vocabulary = tokenizer.learn(())
        # A tokenizer of words has a fixed size only where the recipe limits it.
        size = getattr(tokenizer, "max_size", None)
        if size is None and vocabulary.unknown is not None:
            raise DataError(
                f"{self._missing_captions()}\nFor a dry run without them set tokenizer.max_size: "
                "else the number of words follows from the captions alone."
            )
        sizes = _PUBLISHED[config.split]
        if held := held_out_count(sizes["train"], config.validation):
            sizes = {**sizes, "train": sizes["train"] - held, "validation": held}
        return facts_of(
            config,
            num_classes=size or len(vocabulary.tokens),
            class_names=() if size else vocabulary.tokens,
            split_sizes=sizes,
            files=files,
            num_tokens=config.max_tokens,
            pad=vocabulary.pad,
            unknown=vocabulary.unknown,
        )

    def _missing_captions(self) -> str:
        absent = [str(path) for path in self.side_files if not path.is_file()]
        split = self._config.split
        return (
            f'{" and ".join(absent)} missing. With data.split = "{split}" COCO\'s captions come '
            f"from {_ARCHIVES[split]}.\nUnpack it there, or set data.root to where it is."
        )

    def _open(self, name: str, augmenter: Augmenter) -> CaptionedImages:
        if not self._captions:
            raise DataError(self._missing_captions())
        # All splits before a training, which a missing test image would end after an epoch.
        needed = self._captions if name == "train" else (name,)
        paths = [path for split in needed for path in self._captions[split].names]
        missing = self.store.missing(paths)
        if missing:
            # A missing folder explains all its images.
            gone = [missing_folder(folder) for folder in self._folders if not folder.is_dir()]
            raise DataError(
                f"{self._root}: {len(missing)} of {len(paths)} images are missing:\n  "
                f"{shortened(gone or missing)}\nUnpack train2014.zip and val2014.zip of "
                "cocodataset.org there, or set data.train_images and data.val_images."
            )
        references, captions = self._tokens.references[name], self._captions[name]
        images = self.store.images(captions.names, references.first(), self.pixels, augmenter)
        return CaptionedImages(images, references, captions, self._tokens.vocabulary)


@dataclass(frozen=True, slots=True)
class _Image:
    id: int | str
    file_name: str


@dataclass(frozen=True, slots=True)
class _Annotation:
    image_id: int | str
    caption: str


@dataclass(frozen=True, slots=True)
class _Coco:
    # The first fault of each list alone: a file of another kind has one for each of its entries.
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]


@dataclass(frozen=True, slots=True)
class _Sentence:
    raw: str


@dataclass(frozen=True, slots=True)
class _SplitImage:
    filepath: Literal["train2014", "val2014"]
    filename: str
    split: Literal["train", "restval", "val", "test"]
    sentences: list[_Sentence]


@dataclass(frozen=True, slots=True)
class _Karpathy:
    images: Annotated[list[_SplitImage], FailFast()]


_FORMS: Mapping[type, str] = {
    _Coco: '{"images": [{"id": 1, "file_name": "a.jpg"}], '
    '"annotations": [{"image_id": 1, "caption": "text"}]}',
    _Karpathy: '{"images": [{"filepath": "val2014", "filename": "a.jpg", "split": "test", '
    '"sentences": [{"raw": "text"}]}]}',
}

# What only COCO's other files of annotations have. Keypoints come with boxes, so they are first.
_OTHER_FILES = {
    "keypoints": "keypoints",
    "segments_info": "panoptic segments",
    "bbox": "instances",
    "category_id": "instances",
}

T = TypeVar("T")


def read_coco(path: Path) -> Captions:
    """Images in the file's order, captions in its order too; images without one are left out.

    Names are COCO's `file_name`. Raises `DataError` for a file of another layout than COCO's.
    """
    content = _read(path, _Coco)
    texts: dict[str, list[str]] = defaultdict(list)
    for annotation in content.annotations:
        # As text: some programs write the ids of one list as numbers and of the other as texts.
        texts[str(annotation.image_id)].append(annotation.caption)
    # An id that two images have would give one the other's captions.
    names: dict[str, str] = {}
    doubled = [
        f"{image.id}: {first} and {image.file_name}"
        for image in content.images
        if (first := names.setdefault(str(image.id), image.file_name)) != image.file_name
    ]
    if doubled:
        raise DataError(
            f"{path}: ids that two images have\n  {shortened(doubled)}\nGive each its own."
        )
    strange = [repr(key) for key in texts if key not in names]
    if strange:
        raise DataError(
            f"{path}: captions of images that the file does not list, with the ids\n  "
            f"{shortened(strange)}\nGet the file again, or list these images."
        )
    # An image that is listed twice has the captions of both ids.
    images: dict[str, list[str]] = defaultdict(list)
    for key, name in names.items():
        images[name] += texts.get(key, [])
    return _captions(path, "", images.items())


def read_karpathy(
    path: Path, folders: Mapping[str, Path], splits: Mapping[str, str]
) -> Mapping[str, Captions]:
    """Images in the file's order, by the names that `splits` gives to his splits.

    Args:
        path: his dataset_coco.json.
        folders: paths of his folders train2014 and val2014; names are paths of images there.
        splits: from train, restval, val and test to the names of splits.

    Raises `DataError` for a file of another layout than his.
    """
    images: dict[str, list[tuple[str, Sequence[str]]]] = {name: [] for name in splits.values()}
    found: set[str] = set()
    for number, image in enumerate(_read(path, _Karpathy).images):
        # As written: his tokens have lost their punctuation and case.
        texts = [sentence.raw for sentence in image.sentences]
        name = str(folders[image.filepath] / image.filename)
        if name in found:  # perhaps in two splits
            raise DataError(f"{path}: images.{number}: {name} is listed twice. Keep one of them.")
        found.add(name)
        images[splits[image.split]].append((name, texts))
    return {name: _captions(path, f" of {name}", part) for name, part in images.items()}


def _captions(path: Path, which: str, images: Iterable[tuple[str, Sequence[str]]]) -> Captions:
    pairs = [(name, tuple(texts)) for name, texts in images if texts]
    if not pairs:
        raise DataError(f"{path}: no image{which} with a caption. Get the file again.")
    return Captions(tuple(name for name, _ in pairs), tuple(texts for _, texts in pairs))


def _read(path: Path, layout: type[T]) -> T:
    text = read_text(path)
    try:
        # Read and validated in one pass: the annotations are a hundred megabytes.
        return TypeAdapter(layout).validate_json(text)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
            for fault in error.errors(include_url=False, include_input=False)
        ]
    fields = next((kind for kind in _OTHER_FILES if f'"{kind}"' in text), "")
    advice = f"Get the file again, or bring it into this form: {_FORMS[layout]}"
    if fields and '"caption"' not in text:
        advice = (
            f"It contains {fields}: COCO's file of {_OTHER_FILES[fields]}, not of captions. Name "
            "the file of captions, such as captions_train2014.json."
        )
    raise DataError(f"{path}: not as it should be:\n  {shortened(faults)}\n{advice}")
