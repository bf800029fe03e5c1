from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from addkit.evaluation import captions
from addkit.evaluation.captions import ClipColumns, nearest_captions, table_rows
from addkit.evaluation.results import ClipMeans
from addkit.plugin.values import Batch

REFERENCES = [["a cat", "one cat"], ["a dog", "one dog"], ["a cow", "one cow"], ["a pig", "a hog"]]
TRAINING = [["a cat"], ["a dog", "a dog"], ["a cow"]]


class _Cosines:
    """CLIP columns whose cosine of a row is the number that belongs to its first word."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def means(self, texts: list[str]) -> ClipMeans:
        self.rows.append(texts)
        return self._means({"model": 0.6, "copy": 0.4}.get(texts[0].split()[0], 0.2))

    def truth(self) -> ClipMeans:
        return self._means(1.0)

    def _means(self, cosine: float) -> ClipMeans:
        return ClipMeans(clip_cosine=cosine, low=0, high=1, clip_score=0, ref_clip_score=None)


def test_the_rows_of_table_3() -> None:
    clip: Any = _Cosines()
    rows = table_rows(REFERENCES, TRAINING, ["copy"] * 4, {"ADD": ["model"] * 4}, clip)
    names = ["ground truth", "shuffled captions", "most frequent caption", "nearest copy", "ADD"]
    assert [row.name for row in rows] == names
    _, frequent, copies, model = clip.rows
    assert frequent == ["a dog"] * 4
    assert (copies, model) == (["copy"] * 4, ["model"] * 4)
    # From shuffled (0) to true captions (1).
    assert [row.share for row in rows] == pytest.approx([1, 0, 0, 0.25, 0.5])
    # Images, not captions.
    assert [row.scores["count"] for row in rows] == [4] * 5


def test_every_image_gets_the_first_caption_of_another_one() -> None:
    clip: Any = _Cosines()
    for seed in range(8):
        table_rows(REFERENCES, TRAINING, ["copy"] * 4, {}, clip, seed)
    orders = clip.rows[::3]
    own = [texts[0] for texts in REFERENCES]
    for order in orders:
        assert sorted(order) == sorted(own)
        assert all(one != other for one, other in zip(order, own, strict=True))
    # By the seed.
    assert len({tuple(order) for order in orders}) > 1


def test_clip_scores_of_the_references() -> None:
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    references = [torch.tensor([[0.2, 0.0], [0.4, 0.0]]), torch.tensor([[-0.2, 0.0]])]
    truth = ClipColumns(None, images, references).truth()  # type: ignore[arg-type]
    assert truth.clip_cosine == pytest.approx(0.05)
    assert truth.clip_score == pytest.approx((2.5 * 0.3 + 0) / 2)


def test_the_nearest_training_image_is_that_of_the_largest_cosine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(images: torch.Tensor, slices: Sequence[list[int]], **_: Any) -> Iterator[Batch]:
        for part in slices:
            yield Batch(images[part], torch.zeros(len(part), 1), tuple(part))

    monkeypatch.setattr(captions, "load", load)
    network: Any = SimpleNamespace(
        diffusion=SimpleNamespace(null_token=torch.zeros(1)),
        condition=lambda images, side_inputs: images.unsqueeze(1),
        eval=lambda: None,
    )
    train: Any = torch.tensor([[9.0, 9.0], [0.1, 0.0], [0.0, -5.0]])
    images: Any = torch.tensor([[3.0, 0.3], [1.0, 0.9], [0.1, -2.0]])
    texts = [["both", "x"], ["first"], ["down"]]
    assert nearest_captions(network, train, texts, images, 2) == ["first", "both", "down"]
