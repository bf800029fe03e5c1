from __future__ import annotations

import pytest
import torch

from addkit.data.emoji import EmojiAttributes, emoji_list
from addkit.data.settings import EmojiAttributesConfig
from addkit.plugin.values import MISSING


def _source(**settings: object) -> EmojiAttributes:
    return EmojiAttributes(EmojiAttributesConfig.model_validate(settings))


@pytest.fixture(scope="module")
def source() -> EmojiAttributes:
    return _source()


def _files(source: EmojiAttributes, name: str) -> list[str]:
    split = source.split(name)
    return [split.source(index).removeprefix("emoji, ") for index in range(len(split))]


def test_splits_are_disjoint_and_whole(source: EmojiAttributes) -> None:
    sizes = source.facts.split_sizes
    files = {name: _files(source, name) for name in sizes}
    assert {name: len(part) for name, part in files.items()} == sizes
    assert sorted(file for part in files.values() for file in part) == sorted(
        one.file for one in emoji_list()
    )
    assert files["test"] == [one.file for one in emoji_list() if one.split == "test"]
    assert 0.04 < sizes["validation"] / (sizes["validation"] + sizes["train"]) <= 0.05


def test_labels_are_the_archives(source: EmojiAttributes) -> None:
    facts = source.facts
    assert facts.token_names == ("group", "gender", "tone")
    assert facts.num_classes == facts.token_classes[-1][1] == len(facts.class_names)
    by_file = {one.file: one for one in emoji_list()}
    for name in facts.split_sizes:
        for file, labels in zip(_files(source, name), source.split(name).labels, strict=True):
            emoji = by_file[file]
            values = ["" if k == MISSING else facts.class_names[k] for k in labels.tolist()]
            assert values == [emoji.group, emoji.gender, emoji.tone]


def test_labels_lie_in_their_attributes_range(source: EmojiAttributes) -> None:
    labels = torch.cat([source.split(name).labels for name in source.facts.split_sizes])
    for column, (start, stop) in zip(labels.T, source.facts.token_classes, strict=True):
        known = set(column.tolist()) - {MISSING}
        assert known == set(range(start, stop))
    missing = int((labels == MISSING).sum())
    assert missing == sum(source.facts.notes.values()) == sum(not e.tone for e in emoji_list())


def test_what_is_held_out_is_a_variant_of_what_stays(source: EmojiAttributes) -> None:
    bases = {one.file: one.base for one in emoji_list()}
    train = {bases[file] for file in _files(source, "train")}
    for name in ("validation", "test"):
        assert {bases[file] for file in _files(source, name)} <= train


def test_a_batch(source: EmojiAttributes) -> None:
    batch = source.split("test").batch([3, 1], None)
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.labels.shape == (2, 3)
    assert source.split("test").picture(3).size == (64, 64)


def test_fewer_attributes_and_no_validation() -> None:
    source = _source(attributes=["tone"], validation=0.0)
    assert set(source.facts.split_sizes) == {"train", "test"}
    assert source.facts.token_classes == ((0, source.facts.num_classes),)
    assert source.facts.class_names == tuple(sorted({e.tone for e in emoji_list()} - {""}))
