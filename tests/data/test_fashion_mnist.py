from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST as Reference

from addkit.data.fashion_mnist import FashionMNIST
from addkit.data.settings import FashionMNISTConfig
from addkit.errors import DataError

FILES = [
    f"{stem}-{content}-ubyte"
    for stem in ("train", "t10k")
    for content in ("images-idx3", "labels-idx1")
]


def _idx(array: np.ndarray) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def _contents(train: int = 60, test: int = 20) -> dict[str, bytes]:
    noise = np.random.default_rng(0)
    contents = {}
    for stem, count in (("train", train), ("t10k", test)):
        pixels = noise.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        contents[f"{stem}-images-idx3-ubyte"] = _idx(pixels)
        contents[f"{stem}-labels-idx1-ubyte"] = _idx(np.arange(count, dtype=np.uint8) % 10)
    return contents


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def _source(root: Path, validation: float = 0.0) -> FashionMNIST:
    return FashionMNIST(FashionMNISTConfig(root=root, validation=validation))


def test_facts_need_no_files(tmp_path: Path) -> None:
    facts = _source(tmp_path / "nowhere", validation=0.1).facts
    assert facts.split_sizes == {"train": 54_000, "test": 10_000, "validation": 6000}
    assert [file.name for file in facts.files] == FILES
    assert facts.class_names == tuple(Reference.classes)


@pytest.mark.parametrize("layout", ["torchvision", "plain", "gz", "dotted"])
def test_layouts(tmp_path: Path, layout: str) -> None:
    contents = _contents()
    folder = tmp_path / "FashionMNIST" / "raw" if layout == "torchvision" else tmp_path
    if layout == "gz":
        contents = {f"{name}.gz": gzip.compress(data) for name, data in contents.items()}
    if layout == "dotted":
        contents = {name.replace("-idx", ".idx"): data for name, data in contents.items()}
    _write(folder, contents)
    source = _source(tmp_path)
    assert len(source.split("train")) == 60
    assert len(source.split("test")) == 20
    assert all(file.is_file() for file in source.facts.files)


def test_reads_what_torchvision_reads(tmp_path: Path) -> None:
    _write(tmp_path / "FashionMNIST" / "raw", _contents())
    batch = _source(tmp_path).split("train").batch(range(60), None)
    reference = Reference(tmp_path, train=True)
    wanted = (reference.data.float() / 255 - 0.286) / 0.353
    assert torch.allclose(batch.images[:, 0], wanted, atol=1e-6)
    assert torch.equal(batch.labels[:, 0], reference.targets)


def test_validation_is_held_out_of_train(tmp_path: Path) -> None:
    _write(tmp_path, _contents())
    source = _source(tmp_path, validation=0.5)
    splits = [source.split(name) for name in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [30, 30, 20]
    assert len({split.source(i) for split in splits for i in range(len(split))}) == 80


def test_missing_files_are_named(tmp_path: Path) -> None:
    contents = _contents()
    del contents["train-labels-idx1-ubyte"]
    _write(tmp_path, contents)
    assert len(_source(tmp_path).split("test")) == 20
    with pytest.raises(DataError) as caught:
        _source(tmp_path).split("train")
    text = str(caught.value)
    for words in (*FILES, "train-labels-idx1-ubyte is in none of", str(tmp_path), "download=True"):
        assert words in text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "starts with nothing, an IDX file of bytes in 3 dimensions with 00000803"),
        (b"GIF89a", "starts with 47494638"),
        (_contents()["train-images-idx3-ubyte"][:-9], "announces 47040 bytes .* has 47031"),
        (b"\0\0\x08\x03\0\0", "announces 0 bytes of data and has -"),
        (_idx(np.zeros((0, 28, 28), np.uint8)), "announces 0 bytes of data and has 0"),
        (_idx(np.zeros((60, 32, 32), np.uint8)), "images of 32 x 32 pixels"),
        (_idx(np.zeros((5, 28, 28), np.uint8)), "60 labels for the 5 images of train-images"),
    ],
)
def test_broken_images(tmp_path: Path, content: bytes, text: str) -> None:
    _write(tmp_path, {**_contents(), "train-images-idx3-ubyte": content})
    with pytest.raises(DataError, match=text):
        _source(tmp_path).split("train")


def test_labels_out_of_range(tmp_path: Path) -> None:
    labels = _idx(np.full(60, 10, np.uint8))
    _write(tmp_path, {**_contents(), "train-labels-idx1-ubyte": labels})
    with pytest.raises(DataError, match="labels from 0 to 9"):
        _source(tmp_path).split("train")


def test_a_cut_gz(tmp_path: Path) -> None:
    contents = {f"{name}.gz": gzip.compress(data)[:-20] for name, data in _contents().items()}
    _write(tmp_path, contents)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: cannot be read"):
        _source(tmp_path).split("train")
