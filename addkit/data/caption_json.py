"""COCO's json of captions, and Karpathy's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from addkit.data.captioned import Captions
from addkit.data.verify import shortened
from addkit.errors import DataError


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
    images: list[_Image]
    annotations: list[_Annotation]


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
    images: list[_SplitImage]


_FORMS: Mapping[type, str] = {
    _Coco: '{"images": [{"id": 1, "file_name": "a.jpg"}], '
    '"annotations": [{"image_id": 1, "caption": "text"}]}',
    _Karpathy: '{"images": [{"filepath": "val2014", "filename": "a.jpg", "split": "test", '
    '"sentences": [{"raw": "text"}]}]}',
}

T = TypeVar("T")


def read_coco(path: Path) -> Captions:
    """Images in the file's order, captions in its order too; images without one are left out.

    Names are COCO's `file_name`. Raises `DataError` for a file that is not laid out as COCO's.
    """
    content = _read(path, _Coco)
    texts: dict[int | str, list[str]] = defaultdict(list)
    for annotation in content.annotations:
        texts[annotation.image_id].append(annotation.caption)
    _refuse_strangers(path, content.images, texts)
    named = [(image.file_name, texts.get(image.id, [])) for image in content.images]
    return _captions(path, "", named)


def read_karpathy(
    path: Path, folders: Mapping[str, Path], splits: Mapping[str, str]
) -> Mapping[str, Captions]:
    """Images in the file's order, by the names that `splits` gives to his splits.

    Args:
        path: his dataset_coco.json.
        folders: where his folders train2014 and val2014 lie; names are paths of images there.
        splits: from train, restval, val and test to the names of splits.

    Raises `DataError` for a file that is not laid out as his.
    """
    images: dict[str, list[tuple[str, Sequence[str]]]] = {name: [] for name in splits.values()}
    for image in _read(path, _Karpathy).images:
        texts = [sentence.raw for sentence in image.sentences]
        images[splits[image.split]].append((str(folders[image.filepath] / image.filename), texts))
    return {name: _captions(path, f" of {name}", part) for name, part in images.items()}


def _captions(path: Path, which: str, images: Iterable[tuple[str, Sequence[str]]]) -> Captions:
    pairs = [(name, tuple(texts)) for name, texts in images if texts]
    if not pairs:
        raise DataError(f"{path}: no image{which} with a caption. Get the file again.")
    return Captions(tuple(name for name, _ in pairs), tuple(texts for _, texts in pairs))


def _read(path: Path, layout: type[T]) -> T:
    try:
        return TypeAdapter(layout).validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in found
        ]
        raise DataError(
            f"{path}: not as it should be:\n  {shortened(problems)}\nGet the file again, or bring "
            f"it into this form: {_FORMS[layout]}"
        ) from error


def _refuse_strangers(
    path: Path, images: Sequence[_Image], texts: Mapping[int | str, Sequence[str]]
) -> None:
    known = {image.id for image in images}
    strange = [repr(key) for key in texts if key not in known]
    if strange:
        raise DataError(
            f"{path}: captions of images that the file does not list, with the ids\n  "
            f"{shortened(strange)}\nGet the file again, or list these images."
        )
    if len(known) < len(images):
        raise DataError(
            f"{path}: {len(images)} images have {len(known)} different ids. Give each its own."
        )
