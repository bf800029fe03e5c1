from __future__ import annotations

import hashlib
from collections import Counter

import pytest
import torch

from addkit.data.emoji import EMOJI_FILE, Emoji, EmojiCaptions, emoji_bitmaps, emoji_list
from addkit.data.settings import EmojiConfig
from addkit.plugin.values import Batch
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words

_SHA256 = "314ac8d61e1517893ac2093141dd2e7b0167d904f812e707c0a38f8efa1d733d"
_VALIDATION = "5a8f6f0ec8ad73166be5b74700244b9b303cb2c634b70e6901e5d1a0eec503ef"

TONES = ("light", "medium-light", "medium", "medium-dark", "dark")


def _source(**settings: object) -> EmojiCaptions:
    config = EmojiConfig.model_validate(settings)
    return EmojiCaptions(config, Words(WordsConfig.model_validate({})))


def _emoji(source: EmojiCaptions, name: str) -> list[Emoji]:
    split = source.split(name)
    files = {f"emoji, {emoji.file}": emoji for emoji in emoji_list()}
    return [files[split.source(index)] for index in range(len(split))]


def _batch(source: EmojiCaptions, name: str) -> Batch:
    split = source.split(name)
    return split.batch(range(len(split)), None)


def test_the_embedded_file_and_its_licence() -> None:
    assert hashlib.sha256(EMOJI_FILE.read_bytes()).hexdigest() == _SHA256
    assert EMOJI_FILE.stat().st_size < 8_000_000
    licence = EMOJI_FILE.with_name("EMOJI-LICENSE.txt").read_text("utf-8")
    for words in (
        "SIL OPEN FONT LICENSE Version 1.1",
        "Copyright 2013-2017 Google Inc.",
        "no font",
        "UNICODE LICENSE V3",
        _SHA256,
    ):
        assert words in licence


def test_captions_and_attributes() -> None:
    emoji = emoji_list()
    assert len(emoji) == len({one.file for one in emoji}) == 3788
    assert Counter(one.split for one in emoji) == {"train": 3562, "test": 226}
    judge = next(one for one in emoji if one.caption == "woman judge medium-dark skin tone")
    assert (judge.group, judge.gender, judge.tone) == ("role", "woman", "medium-dark")
    two = next(one for one in emoji if "light skin tone dark skin tone" in one.caption)
    assert (two.group, two.tone) == ("family", "")
    assert len({one.group for one in emoji}) == 12
    assert {one.gender for one in emoji} == {"woman", "man", "both", "person", "none"}
    assert {one.tone for one in emoji} == {*TONES, "none", ""}


def test_every_caption_stays_another_as_tokens() -> None:
    vocabulary = Words(WordsConfig.model_validate({})).learn(one.caption for one in emoji_list())
    assert len({vocabulary.plain(one.caption) for one in emoji_list()}) == 3788


def test_drawings_are_64_pixels_wide() -> None:
    bitmaps = emoji_bitmaps([0, 5], torch.tensor([[1], [2]]))
    assert bitmaps.values.shape == (2, 3, 64, 64)
    assert bitmaps.values.dtype == torch.uint8
    assert bitmaps.names[0] == f"emoji, {emoji_list()[0].file}"
    assert int(bitmaps.values[0, :, 0, 0].min()) == 255


@pytest.mark.parametrize(
    ("settings", "classes", "sizes"),
    [
        ({"validation": 0.0}, 204, {"train": 2025, "test": 226}),
        ({}, 204, {"train": 1802, "test": 226, "validation": 223}),
        ({"subset": "all", "validation": 0.0}, 1752, {"train": 3562, "test": 226}),
        ({"forms": 3, "validation": 0.0}, 193, {"train": 1382, "test": 158}),
        ({"forms": 3}, 193, {"train": 1233, "test": 158, "validation": 149}),
    ],
)
def test_facts(settings: dict[str, object], classes: int, sizes: dict[str, int]) -> None:
    source = _source(**settings)
    facts = source.facts
    assert facts.split_sizes == sizes
    assert {name: len(source.split(name)) for name in sizes} == sizes
    assert facts.num_classes == len(facts.class_names) == classes
    assert (facts.num_tokens, facts.pad, facts.unknown) == (12, 0, 1)
    assert {count for note, count in facts.notes.items() if "cut" in note or "unk" in note} == {0}
    assert facts.files == (EMOJI_FILE,)


@pytest.mark.parametrize("subset", ["variants", "all"])
def test_validation_has_new_combinations_of_seen_things(subset: str) -> None:
    source = _source(subset=subset)
    train = _emoji(source, "train")
    bases = {emoji.base for emoji in train}
    words = {word for emoji in train for word in emoji.caption.lower().split()}
    for name in ("validation", "test"):
        for emoji in _emoji(source, name):
            assert emoji.base in bases
            assert set(emoji.caption.lower().split()) <= words
    everything = [emoji.file for name in source.facts.split_sizes for emoji in _emoji(source, name)]
    assert len(everything) == len(set(everything))


def test_the_split_is_fixed() -> None:
    files = [emoji.file for emoji in _emoji(_source(), "validation")]
    # Pinned: a change would make every published emoji number another experiment.
    assert hashlib.sha256("\n".join(files).encode()).hexdigest() == _VALIDATION
    assert files != [emoji.file for emoji in _emoji(_source(split_seed=1), "validation")]


def test_one_caption_each() -> None:
    source = _source()
    batch = _batch(source, "validation")
    assert batch.references is not None and batch.texts is not None
    assert torch.equal(batch.references[:, 0], batch.labels)
    vocabulary = Words(WordsConfig.model_validate({})).restore(source.facts.class_names)
    decoded = [vocabulary.decode(ids) for ids in batch.labels.tolist()]
    assert [(text,) for text in decoded] == list(batch.texts)
    emoji = _emoji(source, "validation")
    assert decoded == [vocabulary.plain(one.caption) for one in emoji]


def test_three_orders_of_one_skin_tone() -> None:
    source = _source(forms=3)
    batch = _batch(source, "test")
    assert batch.references is not None and batch.texts is not None
    assert batch.references.shape == (158, 3, 12)
    assert batch.reference_counts is not None
    assert set(batch.reference_counts.tolist()) == {3}
    for texts in batch.texts:
        thing, _, tone = texts[2].rpartition(" with ")
        assert tone.removesuffix(" skin tone") in TONES
        assert "skin tone" not in thing
        assert texts == (f"{thing} {tone}", f"{tone} {thing}", f"{thing} with {tone}")


def test_both_tasks_share_their_images() -> None:
    one, three = _source(), _source(forms=3)
    for name in ("train", "validation", "test"):
        few, many = _emoji(three, name), _emoji(one, name)
        assert {emoji.file for emoji in few} < {emoji.file for emoji in many}


def test_pixels() -> None:
    source = _source()
    train = source.split("train")
    batch = train.batch(range(0, 1802, 4), None)
    assert batch.images.shape == (451, 3, 64, 64)
    assert batch.images.mean((0, 2, 3)).abs().max() < 0.1
    assert (batch.images.std((0, 2, 3)) - 1).abs().max() < 0.1
    assert train.picture(3).size == (64, 64)
    assert train.picture(3).mode == "RGB"


def test_longer_captions_can_be_cut() -> None:
    facts = _source(max_tokens=4).facts
    assert facts.num_tokens == 4
    assert facts.notes["train_captions_cut"] > 1000
