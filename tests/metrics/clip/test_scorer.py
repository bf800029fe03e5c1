from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from addkit.errors import DataError
from addkit.metrics.clip import PREFIX, ClipFolder, ClipScorer, clip_scores, scorer

Pictures = Callable[[int], list[Image.Image]]
CAPTIONS = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("cat", "dog", "box")]
REFERENCES = [[caption, "a thing"][: 1 + number % 2] for number, caption in enumerate(CAPTIONS)]


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> ClipScorer:
    return ClipScorer(ClipFolder(tiny_folder))


def test_a_scorer_describes_model_weights_and_prefix(tiny: ClipScorer) -> None:
    assert str(tiny.describe()) == (
        'tiny-clip, weights tiny (random, for tests), prefix "A photo depicts ", float32'
    )


def test_features_are_unit_vectors_in_the_order_given(tiny: ClipScorer, pictures: Pictures) -> None:
    images, texts = tiny.image_features(pictures(6)), tiny.text_features(CAPTIONS)
    for features in (images, texts):
        assert features.shape == (6, 8)
        assert features.dtype == torch.float32
        assert features.norm(dim=-1).tolist() == pytest.approx([1] * 6, abs=1e-6)
    torch.testing.assert_close(tiny.image_features(reversed(pictures(6))), images.flip(0))
    torch.testing.assert_close(tiny.text_features(CAPTIONS[::-1]), texts.flip(0))


def test_the_batch_size_changes_nothing(
    tiny: ClipScorer, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny.score(pictures(6), CAPTIONS, REFERENCES)
    monkeypatch.setattr(scorer, "BATCH", 4)
    parts = tiny.score(pictures(6), CAPTIONS, REFERENCES)
    for name in ("cosine", "clip_score", "ref_clip_score"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-5, rtol=0)


def test_features_kept_give_the_direct_scores(tiny: ClipScorer, pictures: Pictures) -> None:
    images = tiny.image_features(pictures(6))
    references = tiny.reference_features(REFERENCES)
    for captions in (CAPTIONS, CAPTIONS[::-1]):
        direct = tiny.score(pictures(6), captions, REFERENCES)
        reused = clip_scores(images, tiny.text_features(captions), references)
        for name in ("cosine", "clip_score", "ref_clip_score"):
            torch.testing.assert_close(getattr(direct, name), getattr(reused, name))


def test_a_caption_that_is_a_reference_has_text_similarity_1(
    tiny: ClipScorer, pictures: Pictures
) -> None:
    scores = tiny.score(pictures(6), CAPTIONS, REFERENCES)
    score = scores.clip_score
    assert scores.ref_clip_score is not None
    torch.testing.assert_close(scores.ref_clip_score, 2 * score / (score + 1))


def test_captions_and_references_carry_the_prefix(tiny_folder: Path, tiny: ClipScorer) -> None:
    bare = ClipScorer(ClipFolder(tiny_folder), prefix="")
    whole = bare.text_features(PREFIX + caption for caption in CAPTIONS)
    torch.testing.assert_close(tiny.text_features(CAPTIONS), whole)
    torch.testing.assert_close(torch.cat(tiny.reference_features([CAPTIONS])), whole)
    assert not torch.allclose(bare.text_features(CAPTIONS), whole, atol=1e-3)


def test_grey_images_are_read(tiny: ClipScorer) -> None:
    grey = Image.linear_gradient("L")
    both = tiny.image_features([grey, grey.convert("RGB")])
    torch.testing.assert_close(both[0], both[1])


def test_an_empty_caption_has_a_score(tiny: ClipScorer, pictures: Pictures) -> None:
    assert tiny.score(pictures(1), [""]).cosine.isfinite().all()


def test_misfits_are_refused(tiny: ClipScorer, pictures: Pictures) -> None:
    with pytest.raises(DataError, match="2 captions for 3 images"):
        tiny.score(pictures(3), CAPTIONS[:2])
