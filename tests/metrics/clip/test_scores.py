from __future__ import annotations

import pytest
import torch
from torch import Tensor

from addkit.errors import DataError
from addkit.metrics.clip import clip_scores


def _unit(*rows: list[float]) -> Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def _at(*cosines: float) -> Tensor:
    """Unit vectors of the plane whose cosine with (1, 0) is given."""
    x = torch.tensor(cosines)
    return torch.stack([x, (1 - x * x).sqrt()], -1)


X = _at(1.0)


def test_the_same_and_the_opposite_direction() -> None:
    features = _unit([1, 2, 3], [0, 0, 5])
    same, opposite = clip_scores(features, features), clip_scores(features, -features)
    assert same.cosine.tolist() == pytest.approx([1, 1])
    assert same.clip_score.tolist() == pytest.approx([2.5, 2.5])
    assert opposite.cosine.tolist() == pytest.approx([-1, -1])
    assert opposite.clip_score.tolist() == [0, 0]


def test_clip_score_stretches_and_clips_the_cosine() -> None:
    scores = clip_scores(X.expand(3, 2), _at(0.3, 0.0, -0.3))
    assert scores.cosine.tolist() == pytest.approx([0.3, 0, -0.3])
    assert scores.clip_score.tolist() == pytest.approx([0.75, 0, 0])
    assert scores.ref_clip_score is None


def test_the_reference_form_by_hand() -> None:
    # CLIP-S = 2.5 x 0.5; the caption is (1, 0), so its references' cosines are 0.2 and 0.8.
    scores = clip_scores(_at(0.5), X, [_at(0.2, 0.8)])
    assert scores.ref_clip_score is not None
    assert float(scores.ref_clip_score) == pytest.approx(2 * 1.25 * 0.8 / (1.25 + 0.8))


@pytest.mark.parametrize(
    ("image_cosine", "reference"),
    [(-0.5, 1.0), (0.5, -1.0), (-0.5, -1.0)],
    ids=["no image score", "no reference score", "neither"],
)
def test_the_harmonic_mean_is_zero_where_a_part_is(image_cosine: float, reference: float) -> None:
    caption = _at(image_cosine)
    scores = clip_scores(X, caption, [reference * caption])
    assert scores.ref_clip_score is not None
    assert scores.ref_clip_score.tolist() == [0]


def test_each_image_is_compared_with_its_own_references() -> None:
    generator = torch.Generator().manual_seed(0)
    images, captions = (
        torch.nn.functional.normalize(torch.randn(20, 5, generator=generator), dim=-1)
        for _ in range(2)
    )
    counts = torch.randint(1, 6, (20,), generator=generator).tolist()
    references = [
        torch.nn.functional.normalize(torch.randn(count, 5, generator=generator), dim=-1)
        for count in counts
    ]
    scores = clip_scores(images, captions, references)
    expected = []
    for image, caption, own in zip(images, captions, references, strict=True):
        score = 2.5 * max(float(image @ caption), 0)
        nearest = max(0.0, *(float(caption @ one) for one in own))
        both = score + nearest
        expected.append(2 * score * nearest / both if both else 0.0)
    assert scores.ref_clip_score is not None
    assert scores.ref_clip_score.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("captions", "references", "text"),
    [
        (1, None, "CLIP score: 1 captions for 2 images"),
        (2, [1, 1, 1], "CLIP score: references of 3 images for 2"),
        (
            2,
            [1, 0],
            "CLIP score: image 1 (counted from 0) has no reference; give each image one or more, "
            "or none to any",
        ),
    ],
)
def test_misfits_are_refused(captions: int, references: list[int] | None, text: str) -> None:
    texts = None if references is None else [torch.ones(count, 2) for count in references]
    with pytest.raises(DataError) as error:
        clip_scores(torch.ones(2, 2), torch.ones(captions, 2), texts)
    assert str(error.value) == text
