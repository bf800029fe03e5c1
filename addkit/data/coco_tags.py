"""MS COCO's categories of 2014 as tags: which of 80 kinds of things a photograph shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import FailFast, TypeAdapter, ValidationError

from addkit.data.augmentation import Augmenter
from addkit.data.folders import missing_folder, shortened
from addkit.data.image_sets import FileImages
from addkit.data.listed_images import hold_out_listed
from addkit.data.settings import CocoTagsConfig
from addkit.data.shards import open_store
from addkit.data.source import Source, facts_of, held_out_count
from addkit.data.tags import TaggedImage, choose_tags, refuse_unseen, tag_facts, tag_labels
from addkit.data.text_files import read_text
from addkit.errors import DataError
from addkit.plugin.values import TAG_CLASSES, DataFacts

_PUBLISHED = {"train": 82_783, "test": 40_504}
_CATEGORIES = (
    *("airplane", "apple", "backpack", "banana", "baseball bat", "baseball glove", "bear", "bed"),
    *("bench", "bicycle", "bird", "boat", "book", "bottle", "bowl", "broccoli", "bus", "cake"),
    *("car", "carrot", "cat", "cell phone", "chair", "clock", "couch", "cow", "cup"),
    *("dining table", "dog", "donut", "elephant", "fire hydrant", "fork", "frisbee", "giraffe"),
    *("hair drier", "handbag", "horse", "hot dog", "keyboard", "kite", "knife", "laptop"),
    *("microwave", "motorcycle", "mouse", "orange", "oven", "parking meter", "person", "pizza"),
    *("potted plant", "refrigerator", "remote", "sandwich", "scissors", "sheep", "sink"),
    *("skateboard", "skis", "snowboard", "spoon", "sports ball", "stop sign", "suitcase"),
    *("surfboard", "teddy bear", "tennis racket", "tie", "toaster", "toilet", "toothbrush"),
    *("traffic light", "train", "truck", "tv", "umbrella", "vase", "wine glass", "zebra"),
)


class CocoTags(Source):
    """Photographs with the categories of their instances; a photograph may have none.

    Facts come from the instance files, and from the published numbers where one is missing, so
    that a plan can be made without the data. Opening `train` checks that the images of every split
    exist; they are not verified.
    """

    def __init__(self, config: CocoTagsConfig) -> None:
        """Raises `DataError` for instance files of another layout."""
        self._config = config
        self._root = root = config.root.expanduser()
        self.store = open_store(root)
        self.side_files = tuple(
            self.store.file(root / path) for path in (config.train_instances, config.val_instances)
        )
        self._folders = root / config.train_images, root / config.val_images
        files = self.store.reads((*self.side_files, *self._folders))
        self._splits: Mapping[str, Sequence[TaggedImage]] = {}
        if any(not path.is_file() for path in self.side_files):
            super().__init__(self._published_facts(files))
            return
        train, test = map(read_instances, self.side_files, self._folders)
        splits: Mapping[str, Sequence[TaggedImage]] = {"train": train, "test": test}
        if config.validation:
            splits = hold_out_listed(
                self.side_files[0], splits, "validation", config.validation, config.split_seed
            )
        self._tags = choose_tags(self.side_files[0], splits["train"], (), 1)
        refuse_unseen(self.side_files[1], splits, ())
        self._splits = splits
        super().__init__(tag_facts(config, self._tags, splits, files))

    def _published_facts(self, files: tuple[Path, ...]) -> DataFacts:
        sizes = dict(_PUBLISHED)
        if held := held_out_count(sizes["train"], self._config.validation):
            sizes |= {"train": sizes["train"] - held, "validation": held}
        return facts_of(
            self._config,
            num_classes=len(TAG_CLASSES),
            class_names=TAG_CLASSES,
            split_sizes=sizes,
            files=files,
            num_tokens=len(_CATEGORIES),
            token_names=_CATEGORIES,
            token_classes=((0, len(TAG_CLASSES)),) * len(_CATEGORIES),
        )

    def _open(self, name: str, augmenter: Augmenter) -> FileImages:
        if not self._splits:
            absent = [str(path) for path in self.side_files if not path.is_file()]
            raise DataError(
                f"{' and '.join(absent)} missing. COCO's instances come from "
                "annotations_trainval2014.zip of cocodataset.org.\nUnpack it there, or set "
                "data.root to where it is."
            )
        # All splits before a training, which a missing test image would end after an epoch.
        needed = self._splits if name == "train" else (name,)
        paths = [image.name for split in needed for image in self._splits[split]]
        missing = self.store.missing(paths)
        if missing:
            # A missing folder explains all its images.
            gone = [missing_folder(folder) for folder in self._folders if not folder.is_dir()]
            raise DataError(
                f"{self._root}: {len(missing)} of {len(paths)} images are missing:\n  "
                f"{shortened(gone or missing)}\nUnpack train2014.zip and val2014.zip of "
                "cocodataset.org there, or set data.train_images and data.val_images."
            )
        images = self._splits[name]
        labels = tag_labels(self._tags, images)
        return self.store.images([each.name for each in images], labels, self.pixels, augmenter)


@dataclass(frozen=True, slots=True)
class _Image:
    id: int | str
    file_name: str


@dataclass(frozen=True, slots=True)
class _Instance:
    image_id: int | str
    category_id: int | str


@dataclass(frozen=True, slots=True)
class _Category:
    id: int | str
    name: str


@dataclass(frozen=True, slots=True)
class _Instances:
    # The first fault of each list alone: a file of another kind has one for each of its entries.
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Instance], FailFast()]
    categories: Annotated[list[_Category], FailFast()]


_FORM = (
    '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, '
    '"category_id": 1}], "categories": [{"id": 1, "name": "dog"}]}'
)


def read_instances(path: Path, folder: Path) -> list[TaggedImage]:
    """The images of a COCO file of instances, in the file's order, with their categories as tags.

    Names are paths of files in `folder`. Raises `DataError` for a file of another layout, and for
    annotations of images or categories that it does not list.
    """
    try:
        # Read and validated in one pass: the annotations are hundreds of megabytes.
        content = TypeAdapter(_Instances).validate_json(read_text(path))
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise DataError(
            f"{path}: not as it should be:\n  {shortened(faults)}\nName COCO's file of instances, "
            f"such as instances_train2014.json, or bring it into this form: {_FORM}"
        ) from None
    # As text: some programs write the ids of one list as numbers and of the other as texts.
    names = {str(image.id): image.file_name for image in content.images}
    categories = {str(category.id): category.name for category in content.categories}
    tags: dict[str, set[str]] = defaultdict(set)
    strange = []
    for number, instance in enumerate(content.annotations):
        image, category = str(instance.image_id), str(instance.category_id)
        if image not in names:
            strange.append(f"annotations.{number}.image_id: {image}")
        elif category not in categories:
            strange.append(f"annotations.{number}.category_id: {category}")
        else:
            tags[names[image]].add(categories[category])
    if strange:
        raise DataError(
            f"{path}: annotations of images or categories that it does not list:\n  "
            f"{shortened(strange)}\nGet the file again, or list them."
        )
    return [
        TaggedImage(str(folder / name), f"{path}: {name}", frozenset(tags.get(name, ())))
        for name in dict.fromkeys(names.values())
    ]
