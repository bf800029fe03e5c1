"""From fresh answers to the data of figures: chains, reliability, classes, confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from addkit.diffusion import ChainStep
from addkit.evaluation.audit import LOOP
from addkit.metrics.statistics import paired_interval
from addkit.plugin.facts import MISSING
from addkit.report.figures.chain import ChainStory
from addkit.report.figures.classes import ClassAccuracy
from addkit.report.figures.confusion import MOST_CLASSES, Confusion
from addkit.report.figures.differences import Difference, Differences
from addkit.report.figures.reliability import Bin, Reliability
from addkit.report.figures.samples import Example
from addkit.report.figures.style import spread
from addkit.report.predictions import Fresh, Tested, truths
from addkit.report.run_files import NotShownError
from addkit.report.scores import wilson
from addkit.report.trace import leading

BINS = 15
"""As many as the stored calibration error has."""
STORIES = 4
EXAMPLES = 8
MISTAKES = 4


def chain_stories(fresh: Fresh) -> list[ChainStory]:
    """One chain of each of four images spread over the test split, at the recipe's steps.

    Of a recipe that answers in one step 20 are shown, as the audit's loop has.
    """
    images, predictor = fresh.images, fresh.predictor
    steps = predictor.inference.steps
    way = predictor.inference.replace(steps=steps if steps > 1 else LOOP, chains=1)
    places = list(spread(len(images), STORIES))[: predictor.recipe.sampling.batch_size]
    batch = images.batch(places, None)
    chain = [_kept(step) for step in predictor.trace(batch.images, way)]
    told = truths(batch, predictor)
    return [
        _story(fresh, chain, row, images.picture(place), truth)
        for row, (place, truth) in enumerate(zip(places, told, strict=True))
    ]


def _kept(step: ChainStep) -> ChainStep:
    return ChainStep(step.index, step.t, step.logits.float().cpu(), step.clean, step.exited.cpu())


def _story(
    fresh: Fresh, chain: Sequence[ChainStep], row: int, picture: object, truth: str
) -> ChainStory:
    facts, names = fresh.facts, fresh.predictor.class_names
    p = torch.stack([step.logits[row, 0].softmax(-1) for step in chain])
    if facts.num_tokens == 1:
        classes = leading(chain, row)
        rows = [names[k] for k in classes]
        return ChainStory(picture, f"truth: {truth}", rows, p[:, 0, classes].T.numpy())  # type: ignore[arg-type]
    ids = chain[-1].clean.ids[row, 0].tolist()
    stop = ids.index(facts.pad) if facts.pad in ids else len(ids)
    stop = max(stop, 1)
    own = torch.stack([p[:, n, k] for n, k in enumerate(ids[:stop])])
    tokens = facts.token_names or ("",) * stop
    rows = [f"{t}: {names[k]}" if t else names[k] for t, k in zip(tokens, ids[:stop], strict=False)]
    return ChainStory(picture, f"truth: {truth}", rows, own.numpy())  # type: ignore[arg-type]


def reliabilities(fresh: Fresh) -> list[Reliability]:
    """Of ADD and its controls, for answers that come with a probability."""
    return [_reliability(model) for model in fresh.tested if not np.isnan(model.confidence).any()]


def _reliability(model: Tested) -> Reliability:
    confidence, right = model.confidence, model.right
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [_bin(confidence[place == b], right[place == b]) for b in np.unique(place)]
    gaps = sum(one.count * abs(one.confidence - one.right) for one in bins)
    return Reliability(model.name, 100 * gaps / len(right), bins)


def _bin(confidence: np.ndarray, right: np.ndarray) -> Bin:
    share, count = float(right.mean()), len(right)
    return Bin(float(confidence.mean()), share, *wilson(share, count), count)


def class_accuracies(fresh: Fresh) -> list[ClassAccuracy]:
    """By class, or by attribute; of more than 20 classes the 20 worst ones."""
    facts, labels = fresh.facts, fresh.labels
    ids = _ids(fresh)
    right, known = ids == labels, labels != MISSING
    if facts.token_names:
        columns = [(name, right[known[:, n], n]) for n, name in enumerate(facts.token_names)]
    else:
        names = fresh.predictor.class_names
        columns = [
            (names[k], right[labels[:, 0] == k, 0]) for k in sorted(set(labels[:, 0].tolist()))
        ]
    rows = [_class(name, part.numpy()) for name, part in columns if len(part)]
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=lambda row: row.right)[:MOST_CLASSES]
    return rows


def _class(name: str, right: np.ndarray) -> ClassAccuracy:
    share = float(right.mean())
    low, high = wilson(share, len(right))
    return ClassAccuracy(name, 100 * share, 100 * low, 100 * high, len(right))


def _ids(fresh: Fresh) -> torch.Tensor:
    """(images, N) classes that the run answers."""
    if fresh.facts.pad is not None:
        raise NotShownError("captions have no classes; see their examples, or `addkit evaluate`")
    return torch.tensor([one.ids for one in fresh.tested[0].judged])


def confusion(fresh: Fresh) -> Confusion:
    """Of single labels: counts by truth and answer."""
    if fresh.facts.token_names:
        raise NotShownError(
            "only a single label has a confusion matrix; `addkit plot classes` shows each attribute"
        )
    pairs = zip(fresh.labels[:, 0].tolist(), _ids(fresh)[:, 0].tolist(), strict=True)
    return Confusion(fresh.predictor.class_names, dict(Counter(pairs)))


def examples(fresh: Fresh) -> tuple[list[Example], list[Example]]:
    """Eight images spread over the test split, whatever the answers; then the surest mistakes."""
    model = fresh.tested[0]
    even = list(spread(len(model.judged), EXAMPLES))
    order = np.argsort(-np.nan_to_num(model.confidence))
    wrong = [int(row) for row in order if not model.right[row] and row not in even]
    return [fresh.example(row) for row in even], [fresh.example(row) for row in wrong[:MISTAKES]]


def paired_differences(fresh: Fresh) -> Differences:
    """ADD minus each control, in points of images right, with 95 % intervals paired by image."""
    own, *controls = fresh.tested
    if not controls:
        raise NotShownError(
            "the run has no control; `addkit train RECIPE --set 'control.heads=[\"linear\"]'` "
            "trains one beside it"
        )
    if len(own.judged) < 2:
        raise NotShownError("the test split has one image, and an interval needs two")
    rows = [_difference(own, control) for control in controls]
    return Differences("images right, ADD minus control, points", rows)


def _difference(own: Tested, other: Tested) -> Difference:
    interval = paired_interval((100 * (own.right.astype(float) - other.right)).tolist())
    name = f"{own.name} minus {other.name}"
    return Difference(name, interval.mean, interval.low, interval.high)
