"""Table 3 of the paper for a captioning run: ADD between the truth, copies and other processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from addkit.data.loader import load
from addkit.diffusion import counted_generator
from addkit.metrics.captions import leave_one_out, mean_interval, score_captions
from addkit.model import Network
from addkit.plugin.protocols import ImageSet

if TYPE_CHECKING:
    from addkit.metrics.clip import ClipScorer


References = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """Captions under a name."""

    name: str
    captions: list[str]
    """One for each image."""


def table_rows(
    references: References,
    training: References,
    copies: list[str],
    answers: Sequence[Row],
    clip: ClipColumns | None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Truth, shuffled, most frequent, copy, then the models' answers, all over the same images.

    Args:
        references: every right caption of each image of the split.
        training: every caption of each training image.
        copies: for each image the caption of the nearest training image.
        answers: of ADD and its controls.
        clip: scores captions against the images; None leaves those columns empty.
        seed: of the shuffling.

    Returns:
        rows of row, clip_cosine with its 95 % interval low and high, clip_score, ref_clip_score,
        share of the way from shuffled to true captions, and the scores of the text.
    """
    most, _ = Counter(text for texts in training for text in texts).most_common(1)[0]
    first = [texts[0] for texts in references]
    shown = [
        Row("shuffled captions", _shuffled(first, seed)),
        Row("most frequent caption", [most] * len(first)),
        Row("nearest copy", copies),
        *answers,
    ]
    truth = _truth_row(references, clip)
    return _with_shares([truth, *(_row(row, references, clip) for row in shown)])


def _shuffled(captions: list[str], seed: int) -> list[str]:
    """Each image gets another image's caption: a random cycle through all of them."""
    order = torch.randperm(len(captions), generator=counted_generator(seed, "shuffle")).tolist()
    moved = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [captions[moved[place]] for place in range(len(captions))]


@dataclass(frozen=True, slots=True)
class ClipColumns:
    """Images and references as CLIP sees them, once for all rows."""

    clip: ClipScorer
    images: Tensor
    references: list[Tensor]

    @classmethod
    def of(cls, images: ImageSet, references: References, clip: ClipScorer) -> ClipColumns:
        """Encode the pictures of a split and their right captions."""
        pictures = (images.picture(place) for place in range(len(images)))
        return cls(clip, clip.image_features(pictures), clip.reference_features(references))

    def scores(self, captions: list[str]) -> dict[str, Any]:
        """Of one caption for each image: means, and the cosine's 95 % interval."""
        from addkit.metrics.clip import clip_scores

        found = clip_scores(self.images, self.clip.text_features(captions), self.references)
        assert found.ref_clip_score is not None
        return {
            **_cosine(found.cosine.tolist()),
            "clip_score": float(found.clip_score.mean()),
            "ref_clip_score": float(found.ref_clip_score.mean()),
        }

    def truth(self) -> dict[str, Any]:
        """Cosines of each reference with its image, averaged over an image's references."""
        means = [
            float((image @ texts.T).mean())
            for image, texts in zip(self.images, self.references, strict=True)
        ]
        score = fmean(2.5 * max(mean, 0.0) for mean in means)
        return {**_cosine(means), "clip_score": score, "ref_clip_score": None}


NO_CLIP = dict.fromkeys(("clip_cosine", "low", "high", "clip_score", "ref_clip_score"))


def _cosine(values: list[float]) -> dict[str, float]:
    interval = mean_interval(values)
    return {"clip_cosine": interval.mean, "low": interval.low, "high": interval.high}


def _row(row: Row, references: References, clip: ClipColumns | None) -> dict[str, Any]:
    scores = asdict(score_captions(row.captions, references))
    columns = NO_CLIP if clip is None else clip.scores(row.captions)
    return {"row": row.name, **columns, "share": None, **scores}


def _truth_row(references: References, clip: ClipColumns | None) -> dict[str, Any]:
    """People against each other where an image has several captions; else no text scores."""
    pairs = leave_one_out(references)
    columns = NO_CLIP if clip is None else clip.truth()
    if not pairs:
        return {"row": "ground truth", **columns, "share": None, "count": len(references)}
    captions, others = zip(*pairs, strict=True)
    scores = asdict(score_captions(captions, others))
    return {"row": "ground truth", **columns, "share": None, **scores, "count": len(references)}


def _with_shares(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How far each row is on the way from shuffled (0) to true captions (1), by cosine."""
    truth, shuffled = rows[0]["clip_cosine"], rows[1]["clip_cosine"]
    if truth is None or truth == shuffled:
        return rows
    return [{**row, "share": (row["clip_cosine"] - shuffled) / (truth - shuffled)} for row in rows]


@torch.inference_mode()
def nearest_captions(
    network: Network, train: ImageSet, captions: References, images: ImageSet, batch_size: int
) -> list[str]:
    """The first caption of the training image whose mean condition token is nearest by cosine."""
    network.eval()
    known = torch.cat(list(_codes(network, train, batch_size)))
    near = [(codes @ known.T).argmax(1).tolist() for codes in _codes(network, images, batch_size)]
    return [captions[place][0] for part in near for place in part]


def _codes(network: Network, images: ImageSet, batch_size: int) -> Any:
    """Unit codes (B, V), batch by batch."""
    device = network.diffusion.null_token.device
    slices = [
        list(range(start, min(start + batch_size, len(images))))
        for start in range(0, len(images), batch_size)
    ]
    for batch in load(images, slices, seed=None, workers=0):
        condition = network.condition(batch.images.to(device), batch.side_inputs).mean(1)
        yield functional.normalize(condition, dim=-1)
