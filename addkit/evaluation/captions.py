"""Scores of a captioning run that need its pictures or training captions: CLIP and table 3.

Table 3 of the paper compares ADD with the truth, copies and other processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from addkit.data.loader import load
from addkit.diffusion import counted_generator
from addkit.evaluation.batches import Evaluator
from addkit.evaluation.results import CaptionRow, ClipMeans, Scores
from addkit.metrics.captions import leave_one_out, score_captions
from addkit.metrics.statistics import mean_interval
from addkit.model import Network
from addkit.plugin.protocols import ImageSet
from addkit.tasks.captioning import CaptionMeter, captions_of

if TYPE_CHECKING:
    from addkit.metrics.clip import ClipScorer


References = Sequence[Sequence[str]]


def caption_results(
    evaluator: Evaluator,
    settings: Sequence[CaptionMeter],
    models: Mapping[str, CaptionMeter],
    train: ImageSet | None,
    clip: ClipScorer | None,
) -> tuple[list[Scores], list[CaptionRow] | None]:
    """The CLIP cosine of each setting, and table 3 of the models.

    Args:
        evaluator: of the run.
        settings: captions under each setting.
        models: captions of the last setting and of the controls, by model name.
        train: training images with the captions to copy; None leaves out table 3.
        clip: None leaves the CLIP columns empty.
    """
    network, images, references = evaluator.network, evaluator.images, settings[0].references
    features = None
    columns: list[Scores] = [{"clip_cosine": None} for _ in settings]
    if clip is not None:
        # Pictures and references are encoded once for all settings and rows.
        features = ClipColumns.encode(images, references, clip)
        means = [features.means(meter.captions) for meter in settings]
        columns = [{"clip_cosine": each.clip_cosine} for each in means]
    if train is None:
        return columns, None
    training = captions_of(train, settings[0].vocabulary)
    copies = nearest_captions(network, train, training, images, evaluator.batch_size)
    captions = {name: meter.captions for name, meter in models.items()}
    rows = table_rows(references, training, copies, captions, features, evaluator.seed)
    return columns, rows


def table_rows(
    references: References,
    training: References,
    copies: list[str],
    models: Mapping[str, list[str]],
    clip: ClipColumns | None,
    seed: int = 0,
) -> list[CaptionRow]:
    """Truth, shuffled, most frequent, copy, then the models' captions, all for the same images.

    `share` of a row is its cosine on a scale from shuffled (0) to true captions (1).

    Args:
        references: every true caption of each image of the split.
        training: every caption of each training image.
        copies: for each image the caption of the nearest training image.
        models: captions of ADD and its controls, by model name.
        clip: scores captions against the images; None leaves those columns empty.
        seed: random seed of the shuffling.
    """
    most_frequent, _ = Counter(text for texts in training for text in texts).most_common(1)[0]
    first = [texts[0] for texts in references]
    # Each image gets another image's caption: a random cycle has no image that keeps its own.
    order = torch.randperm(len(first), generator=counted_generator(seed, "shuffle")).tolist()
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    origins = {
        "shuffled captions": [first[following[index]] for index in range(len(first))],
        "most frequent caption": [most_frequent] * len(first),
        "nearest copy": copies,
        **models,
    }
    # People against each other where an image has several captions; else no text scores.
    truth_scores: dict[str, float | None] = {}
    if pairs := leave_one_out(references):
        captions, others = zip(*pairs, strict=True)
        truth_scores = asdict(score_captions(captions, others))
    # An image counts once, however many captions it has.
    truth_scores["count"] = len(references)
    truth_means = None if clip is None else clip.truth()
    rows = [CaptionRow(name="ground truth", clip=truth_means, scores=truth_scores)]
    for name, texts in origins.items():
        scores = asdict(score_captions(texts, references))
        means = None if clip is None else clip.means(texts)
        rows.append(CaptionRow(name=name, clip=means, scores=scores))
    cosines = [row.clip.clip_cosine for row in rows if row.clip is not None]
    # The rows begin with the two ends of the scale; equal ends would divide by 0.
    if not cosines or cosines[0] == cosines[1]:
        return rows
    truth, shuffled = cosines[:2]
    return [
        replace(row, share=(cosine - shuffled) / (truth - shuffled))
        for row, cosine in zip(rows, cosines, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ClipColumns:
    """CLIP features of images and references, computed once for all rows."""

    clip: ClipScorer
    images: Tensor  # (n, D)
    references: list[Tensor]  # One (references, D) for each image.

    @classmethod
    def encode(cls, images: ImageSet, references: References, clip: ClipScorer) -> ClipColumns:
        """Encode the pictures of a split and their true captions."""
        # A generator: pictures in full size are decoded one batch at a time.
        pictures = (images.picture(index) for index in range(len(images)))
        return cls(clip, clip.image_features(pictures), clip.reference_features(references))

    def means(self, captions: list[str]) -> ClipMeans:
        """Scores of one caption for each image."""
        from addkit.metrics.clip import clip_scores

        scores = clip_scores(self.images, self.clip.text_features(captions), self.references)
        assert scores.ref_clip_score is not None
        return _clip_means(
            scores.cosine.tolist(),
            float(scores.clip_score.mean()),
            float(scores.ref_clip_score.mean()),
        )

    def truth(self) -> ClipMeans:
        """Scores of the references themselves, averaged over each image's references."""
        cosines = [
            float((image @ texts.T).mean())
            for image, texts in zip(self.images, self.references, strict=True)
        ]
        # CLIP-S of Hessel et al. 2021: 2.5 max(cosine, 0).
        return _clip_means(cosines, fmean(2.5 * max(cosine, 0.0) for cosine in cosines), None)


def _clip_means(cosines: list[float], clip_score: float, reference: float | None) -> ClipMeans:
    interval = mean_interval(cosines)
    return ClipMeans(
        clip_cosine=interval.mean,
        low=interval.low,
        high=interval.high,
        clip_score=clip_score,
        ref_clip_score=reference,
    )


@torch.inference_mode()
def nearest_captions(
    network: Network, train: ImageSet, captions: References, images: ImageSet, batch_size: int
) -> list[str]:
    """The first caption of the training image whose mean condition token is nearest by cosine."""
    network.eval()
    candidates = torch.cat(list(_codes(network, train, batch_size)))  # (train, V)
    # Batch by batch: the table of all cosines, (images, train), need not fit the memory.
    return [
        captions[index][0]
        for codes in _codes(network, images, batch_size)
        for index in (codes @ candidates.T).argmax(1).tolist()
    ]


def _codes(network: Network, images: ImageSet, batch_size: int) -> Iterator[Tensor]:
    """Unit vectors (B, V), batch by batch."""
    device = network.diffusion.null_token.device
    slices = [
        list(range(start, min(start + batch_size, len(images))))
        for start in range(0, len(images), batch_size)
    ]
    for batch in load(images, slices, seed=None, workers=0):
        condition = network.condition(batch.images.to(device), batch.side_inputs)  # (B, C, V)
        yield functional.normalize(condition.mean(1), dim=-1)  # (B, V)
