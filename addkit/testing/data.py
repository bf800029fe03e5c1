"""Laws of data sets, tokenizers, tasks and trackers."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from PIL import Image

from addkit.errors import DataError, RecipeError, UsageError
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import MISSING, Batch
from addkit.recipe.tables import Augmentation
from addkit.testing.fixed_inputs import answer_of, images_of
from addkit.testing.small_problem import (
    IMAGES,
    Bench,
    Law,
    NotHereError,
    SkippedError,
    close,
    need,
    shaped,
)

SENTENCES = ("a red cat sits", "two dogs run home", "a red dog sits", "two cats")
NONE: Mapping[str, Any] = {}
WILD: Mapping[str, Any] = {"flip": 0.5, "shift": 1, "crop": [0.5, 1.0]}
MOST_READ = 4
"""Images of a split that are read, of data sets that may have millions."""


def has_complete_facts(bench: Bench) -> None:
    """At least two classes, a mean and a std for each channel, a train and a test split."""
    facts = bench.build().facts
    need(facts.num_classes >= 2, f"num_classes is {facts.num_classes}")
    for what in ("mean", "std"):
        count = len(getattr(facts, what))
        need(count == facts.image_channels, f"{what} has {count} values, one for each channel")
    lacking = {"train", "test"} - set(facts.split_sizes)
    need(not lacking, f"split_sizes lacks {', '.join(sorted(lacking))}")
    # Some data sets have names in their files alone, which building must not read.
    names = len(facts.class_names)
    need(names in (0, facts.num_classes), f"{names} class names for {facts.num_classes} classes")


def opens_its_splits(bench: Bench) -> None:
    """A split has the number of images in its facts, and labels (n, N) of existing classes."""
    facts = bench.build().facts
    for name, size in facts.split_sizes.items():
        images = _split(bench, name)
        need(len(images) == size, f"{name} has {len(images)} images, and split_sizes says {size}")
        shaped(f"the labels of {name}", images.labels, (size, facts.num_tokens))
        labels = images.labels[images.labels != MISSING]
        low, high = int(labels.min()), int(labels.max())
        good = low >= 0 and high < facts.num_classes
        need(good, f"labels of {name} go from {low} to {high}, K is {facts.num_classes}")


def gives_batches(bench: Bench) -> None:
    """A batch has images (B, channels, size, size), float32, and the labels of its indices."""
    facts, images = bench.build().facts, _split(bench, "train")
    indices = list(range(min(MOST_READ, len(images))))[::-1]
    # Backwards, since in order a data set that ignores its indices would pass; with and without
    # augmentation, whose code paths differ.
    for seed in (None, 5):
        batch = images.batch(indices, seed)
        shape = (len(indices), facts.image_channels, facts.image_size, facts.image_size)
        shaped("the images", batch.images, shape, torch.float32)
        need(batch.indices == tuple(indices), f"indices are {batch.indices}, asked for {indices}")
        need(
            torch.equal(batch.labels, images.labels[indices]),
            "a batch has other labels than the split",
        )


def counts_its_randomness(bench: Bench) -> None:
    """An image depends on its index and the seed alone, not on its batch or on earlier calls."""
    images = _split(bench, "train", WILD)
    indices = list(range(min(MOST_READ, len(images))))
    batch = images.batch(indices, 7).images  # (B, channels, size, size)
    close("a batch read twice", images.batch(indices, 7).images, batch, 0)
    # The last, whose place in the batch is not its place alone. Not to the bit: kernels for one
    # image and for several may round differently.
    last = indices[-1]
    close("an image alone", images.batch([last], 7).images[0], batch[-1], 1e-5)


def shows_its_images(bench: Bench) -> None:
    """`picture` gives an image for a person, RGB or grey, and `source` says where it is from."""
    images = _split(bench, "test")
    picture, source = images.picture(0), images.source(0)
    need(isinstance(picture, Image.Image), f"picture gave a {type(picture).__name__}")
    need(picture.mode in ("RGB", "L"), f"the picture's mode is {picture.mode}")
    need(isinstance(source, str) and bool(source), f"source gave {source!r}")


def _split(bench: Bench, name: str, augmentation: Mapping[str, Any] = NONE) -> ImageSet:
    source = bench.build()
    # Data whose images must not be moved refuses to be augmented.
    with contextlib.suppress(RecipeError):
        source = source.augmented(Augmentation.model_validate(augmentation))
    try:
        images: ImageSet = source.split(name)
    except (DataError, FileNotFoundError) as error:
        raise NotHereError(f"its data is not here: {error}") from None
    return images


def learns_a_vocabulary(bench: Bench) -> None:
    """The same captions give the same tokens, all different, pad and unknown among them."""
    tokenizer = _tokenizer(bench)
    vocabulary, again = tokenizer.learn(SENTENCES), tokenizer.learn(SENTENCES)
    need(vocabulary.tokens == again.tokens, "the same captions gave other tokens")
    twice = len(vocabulary.tokens) - len(set(vocabulary.tokens))
    need(twice == 0, f"{twice} tokens repeat another")
    for what in ("pad", "unknown"):
        value = getattr(vocabulary, what)
        inside = value is None or 0 <= value < len(vocabulary.tokens)
        # A vocabulary of subwords has no unknown words, but every one fills captions up.
        need(inside and (what == "unknown" or value is not None), f"{what} is {value!r}")


def decodes_what_it_encodes(bench: Bench) -> None:
    """Decoding gives `plain` of a text, up to the first pad; no pad is among its ids."""
    vocabulary = _tokenizer(bench).learn(SENTENCES)
    for text in SENTENCES:
        ids = vocabulary.encode(text)
        need(vocabulary.pad not in ids, f"a pad is among the ids of {text!r}")
        # More ids behind the pad: decoding must stop there, not only skip pads.
        again = vocabulary.decode([*ids, vocabulary.pad, *ids])
        if vocabulary.unknown not in ids:
            need(again == vocabulary.plain(text), f"{vocabulary.plain(text)!r} became {again!r}")


def restores_a_vocabulary(bench: Bench) -> None:
    """`restore` of a vocabulary's tokens encodes as it did."""
    tokenizer = _tokenizer(bench)
    learnt = tokenizer.learn(SENTENCES)
    # A list, as JSON gives back the tuple that a run stored.
    restored = tokenizer.restore(list(learnt.tokens))
    for text in SENTENCES:
        found, wanted = restored.encode(text), learnt.encode(text)
        need(found == wanted, f"{text!r} became {found}, and was {wanted}")


def _tokenizer(bench: Bench) -> Any:
    # The built-in "none" is None: labels are classes, and nothing is cut into tokens.
    built = bench.build()
    if built is None:
        raise SkippedError("stands for nothing")
    return built


def gives_targets(bench: Bench) -> None:
    """`targets` of labels (B, R, N) are labels below K, with weights that are not negative."""
    labels = bench.labels()
    targets = bench.build().targets(labels)
    shaped("the target labels", targets.labels, tuple(labels.shape))
    low, high = int(targets.labels.min()), int(targets.labels.max())
    count = bench.problem.num_classes
    need(low >= 0 and high < count, f"target labels go from {low} to {high}, K is {count}")
    if targets.weights is not None:
        shaped("the weights", targets.weights, tuple(labels.shape))
        need(float(targets.weights.min()) >= 0, "a weight is negative")


def scores_answers(bench: Bench) -> None:
    """A meter counts its images; all right answers are correct, and not all wrong ones."""
    task, labels = bench.build(), bench.labels()[:, 0]  # (B, N)
    # Every label is answered with the next class.
    wrong = (labels + 1) % bench.problem.num_classes
    batch = Batch(images_of(bench), labels, tuple(range(len(labels))))
    shares = {}
    for name, answered in (("right", labels), ("wrong", wrong)):
        meter = task.meter()
        meter.update(answer_of(answered, bench.problem.num_classes), batch)
        scores = meter.compute()
        # Reports and JSON list the fields of a dataclass.
        need(is_dataclass(scores), f"compute gave a {type(scores).__name__}, not a dataclass")
        names = {field.name for field in fields(scores)}
        need("count" in names, "the scores have no `count`")
        need(task.headline in names, f'the scores have no "{task.headline}", the headline')
        need(scores.count == IMAGES, f"count is {scores.count} after {IMAGES} images")
        shaped("correct", meter.correct, (IMAGES,), torch.bool)
        shares[name] = float(meter.correct.float().mean())
    need(shares["right"] == 1.0, f"of right answers a share {shares['right']:.3g} is correct")
    need(shares["wrong"] < 1.0, "all wrong answers are correct")


def makes_predictions(bench: Bench) -> None:
    """`predictions` gives one for each image, its rows as wide as `columns`."""
    task, labels = bench.build(), bench.labels()[:, 0]
    predictions = task.predictions(answer_of(labels, bench.problem.num_classes), 2)
    need(len(predictions) == IMAGES, f"{len(predictions)} predictions for {IMAGES} images")
    for row in (row for prediction in predictions for row in prediction.rows()):
        need(len(row) == len(task.columns), f"a row has {len(row)} cells of {len(task.columns)}")


def refuses_unknown_given_labels(bench: Bench) -> None:
    """Given labels of an unknown name are a UsageError."""
    try:
        bench.build().given_labels({"no-such-name": "x"})
    except UsageError:
        return
    need(False, "given_labels took no-such-name = x")


def follows_a_training(bench: Bench) -> None:
    """It takes begin, log with rising and with repeated steps, and close."""
    tracker = bench.build()
    if tracker is None:
        raise SkippedError("stands for nothing")
    with tempfile.TemporaryDirectory() as folder:
        tracker.begin(folder, {"seed": 0})
        # A training that resumes repeats the steps behind its checkpoint.
        for step in (1, 2, 2, 3):
            tracker.log(step, {"loss": 1.0 / step})
        tracker.close()


DATA: tuple[Law, ...] = (
    has_complete_facts,
    opens_its_splits,
    gives_batches,
    counts_its_randomness,
    shows_its_images,
)
TOKENIZER: tuple[Law, ...] = (learns_a_vocabulary, decodes_what_it_encodes, restores_a_vocabulary)
TASK: tuple[Law, ...] = (
    gives_targets,
    scores_answers,
    makes_predictions,
    refuses_unknown_given_labels,
)
TRACKER: tuple[Law, ...] = (follows_a_training,)
