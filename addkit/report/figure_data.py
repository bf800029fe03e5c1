"""Data of figures from fresh predictions: chains, reliability, classes, confusions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch

from addkit.diffusion import ChainStep
from addkit.evaluation.audit import LOOP
from addkit.evaluation.results import wilson
from addkit.metrics.statistics import paired_interval
from addkit.plugin.values import MISSING
from addkit.report.ablation_files import AblationFiles
from addkit.report.figures.classes import MOST_CLASSES, ClassAccuracy, Confusion
from addkit.report.figures.differences import Difference, Differences
from addkit.report.figures.images import ChainStory, Example
from addkit.report.figures.reliability import Bin, Reliability
from addkit.report.figures.style import spread
from addkit.report.predictions import FreshPredictions, truths
from addkit.report.run_files import NotShownError, RunFiles
from addkit.report.trace import leading

BINS = 15
"""Bins of the calibration error, as in an evaluation."""
STORIES = 4
LOSSES, STORIES_OF_LOSS = 4, 2
"""Of a comparison of losses: arms, the base among them, and images of each."""
EXAMPLES = 8
MISTAKES = 4


def arm_chains(files: AblationFiles) -> list[ChainStory]:
    """Figure 4: chains of the same images and noise by the base and by each arm with another loss.

    By the run of the first seed. Raises `NotShownError` where no loss is compared.
    """
    arms = [arm for arm in files.trained if any(key.startswith("loss.") for key in arm.changes)]
    if not arms:
        raise NotShownError(
            "no arm has another loss; `addkit ablate RECIPE --loss weighted-ce,mse-noise` has"
        )
    by_arm = []
    for arm in (files.result.base, *arms[: LOSSES - 1]):
        if runs := files.runs(arm):
            stories = chain_stories(FreshPredictions(RunFiles.open(runs[0].path)), STORIES_OF_LOSS)
            by_arm.append([replace(story, title=f"{arm.name}, {story.title}") for story in stories])
    # Image by image, so that the losses of one image are neighbours.
    return [story for stories in zip(*by_arm, strict=True) for story in stories]


def chain_stories(fresh: FreshPredictions, count: int = STORIES) -> list[ChainStory]:
    """One chain of each of `count` images spread over the test split, at the recipe's steps.

    A recipe that answers in one step is run with 20, the steps of the audit's loop.
    """
    images, predictor = fresh.images, fresh.predictor
    steps = predictor.inference.steps
    setting = predictor.inference.replace(steps=steps if steps > 1 else LOOP, chains=1)
    # At most a batch: what the memory was chosen for.
    indices = list(spread(len(images), count))[: predictor.recipe.sampling.batch_size]
    batch = images.batch(indices, None)
    # On the CPU, and without y_t: of a long chain over many labels they would fill a GPU.
    chain = [
        ChainStep(step.index, step.t, step.logits.float().cpu(), step.clean, step.exited.cpu())
        for step in predictor.trace(batch.images, setting)
    ]
    # (B, R, N, K) logits at each step, of which the first chain (R = 1) is drawn.
    facts, names = fresh.facts, predictor.class_names
    stories = []
    for row, (index, truth) in enumerate(zip(indices, truths(batch, predictor), strict=True)):
        p = torch.stack([step.logits[row, 0].softmax(-1) for step in chain])  # (steps, N, K)
        if facts.num_tokens == 1:
            # One label: a row for each class that ever leads.
            classes = leading(chain, row)
            labels, shown = [names[k] for k in classes], p[:, 0, classes].T
        else:
            # Several: a row for each token of the final answer, up to the end of a caption.
            ids = chain[-1].clean.ids[row, 0].tolist()
            stop = max(ids.index(facts.pad) if facts.pad in ids else len(ids), 1)
            ids = ids[:stop]
            shown = torch.stack([p[:, n, k] for n, k in enumerate(ids)])
            labels = [names[k] for k in ids]
            if facts.token_names:
                pairs = zip(facts.token_names, labels, strict=False)
                labels = [f"{token}: {label}" for token, label in pairs]
        picture = images.picture(index)
        stories.append(ChainStory(picture, f"truth: {truth}", labels, shown.numpy()))
    return stories


def reliabilities(fresh: FreshPredictions) -> list[Reliability]:
    """Reliability of the run and its controls, where answers have a confidence."""
    models = []
    for model in fresh.tested:
        confidence, right = model.confidence, model.right
        # A model whose answers have no probability is left out, not drawn at 0.
        if np.isnan(confidence).any():
            continue
        # A confidence of exactly 1 belongs to the last bin.
        index = np.minimum((confidence * BINS).astype(int), BINS - 1)
        bins = []
        for number in np.unique(index):
            inside = index == number
            share, count = float(right[inside].mean()), int(inside.sum())
            mean = float(confidence[inside].mean())
            bins.append(Bin(mean, share, *wilson(share, count), count))
        # Expected calibration error: the gap of each bin, weighted by its share of the answers.
        gaps = sum(each.count * abs(each.confidence - each.right) for each in bins)
        models.append(Reliability(model.name, 100 * gaps / len(right), bins))
    return models


def class_accuracies(fresh: FreshPredictions) -> list[ClassAccuracy]:
    """Accuracy by class, or by attribute; of more than 20 classes the 20 worst ones."""
    facts, labels = fresh.facts, fresh.labels
    ids = _ids(fresh)
    right, labelled = ids == labels, labels != MISSING  # (images, N) bool
    if facts.token_names:
        columns = [(name, right[labelled[:, n], n]) for n, name in enumerate(facts.token_names)]
    else:
        names = fresh.predictor.class_names
        columns = [
            (names[k], right[labels[:, 0] == k, 0]) for k in sorted(set(labels[:, 0].tolist()))
        ]
    rows = []
    for name, part in columns:
        if len(part):
            share = float(part.numpy().mean())
            # Wilson's, which stays within [0, 1] at shares of 0 and 1 and for few images.
            low, high = wilson(share, len(part))
            rows.append(ClassAccuracy(name, 100 * share, 100 * low, 100 * high, len(part)))
    if len(rows) > MOST_CLASSES:
        # The worst: a class that is always right needs no attention.
        rows = sorted(rows, key=lambda row: row.right)[:MOST_CLASSES]
    return rows


def _ids(fresh: FreshPredictions) -> torch.Tensor:
    """(images, N) classes that the run predicts."""
    if fresh.facts.pad is not None:
        raise NotShownError("captions have no classes; see their examples, or `addkit evaluate`")
    return torch.tensor([each.ids for each in fresh.tested[0].judged])


def confusion(fresh: FreshPredictions) -> Confusion:
    """Counts of images by truth and answer, for single labels."""
    if fresh.facts.token_names:
        raise NotShownError(
            "only a single label has a confusion matrix; `addkit plot classes` shows each attribute"
        )
    # Counted in a dict: a K x K matrix of 1,000 classes would be nearly empty.
    pairs = zip(fresh.labels[:, 0].tolist(), _ids(fresh)[:, 0].tolist(), strict=True)
    return Confusion(fresh.predictor.class_names, dict(Counter(pairs)))


def examples(fresh: FreshPredictions) -> tuple[list[Example], list[Example]]:
    """Eight images spread over the test split, whatever the answers; then the surest mistakes."""
    model = fresh.tested[0]
    even = list(spread(len(model.judged), EXAMPLES))
    # The most confident mistakes are the most instructive; answers without a confidence come last.
    order = np.argsort(-np.nan_to_num(model.confidence))
    wrong = [int(row) for row in order if not model.right[row] and row not in even]
    return [fresh.example(row) for row in even], [fresh.example(row) for row in wrong[:MISTAKES]]


def paired_differences(fresh: FreshPredictions) -> Differences:
    """The run minus each control, in points of accuracy, with 95 % intervals paired by image."""
    own, *controls = fresh.tested
    if not controls:
        raise NotShownError(
            "the run has no control; `addkit train RECIPE --set 'control.heads=[\"linear\"]'` "
            "trains one with it"
        )
    if len(own.judged) < 2:
        raise NotShownError("the test split has one image, and an interval needs two")
    rows = []
    for control in controls:
        # Paired by image: one that is hard for both models adds nothing to the spread.
        interval = paired_interval((100 * (own.right.astype(float) - control.right)).tolist())
        name = f"{own.name} minus {control.name}"
        rows.append(Difference(name, interval.mean, interval.low, interval.high))
    return Differences(f"images right, {own.name} minus control, points", rows)
