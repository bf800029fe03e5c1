"""Sections of a run's page: captions, tables and figures of its data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from addkit.evaluation.results import never_predicted_line
from addkit.report import tables
from addkit.report.figure_data import (
    chain_stories,
    class_accuracies,
    confusion,
    examples,
    paired_differences,
    reliabilities,
)
from addkit.report.figures.classes import MOST_CLASSES, draw_classes, draw_confusion
from addkit.report.figures.curves import (
    Line,
    draw_accuracy,
    draw_loss_by_time,
    draw_losses,
    draw_step_time,
    draw_steps,
)
from addkit.report.figures.differences import Differences, draw_differences
from addkit.report.figures.images import ChainStory, draw_chains, draw_examples
from addkit.report.figures.reliability import FEWEST, draw_reliability
from addkit.report.run_files import (
    NotShownError,
    accuracies,
    losses,
    losses_by_time,
    scored_split,
    step_curves,
    step_times,
    stored_reliabilities,
)
from addkit.report.sections import RunReport, Shown, Table
from addkit.terminal import addkit_command


def show_scores(report: RunReport) -> Shown:
    """Final test scores."""
    # From the manifest, so that it is there before any `addkit evaluate`.
    table = tables.final_scores(report.files)
    sentences = [
        never_predicted_line(name, "test", names)
        for name, run in report.files.models.items()
        if (names := run.manifest().never_predicted)
    ]
    return Shown(
        "Scores on the test split at the end of training, with the recipe's inference settings; "
        "ema are the averaged weights. 95 %: Wilson's interval over test images, which does not "
        "cover other training seeds. "
        f"From `{report.path}/manifest.json`, written by `addkit train`.",
        tables=[table],
        sentences=sentences,
    )


def show_settings(report: RunReport) -> Shown:
    """The last evaluation."""
    table = tables.settings(report.files)
    evaluation = report.files.evaluated()
    return Shown(
        f"Each inference setting that was scored, on the {evaluation.split} split, "
        f"{evaluation.weights} weights; w is the guidance scale, 1 is off. 95 %: "
        "Wilson's interval over images. "
        f"{_evaluated(report)}",
        tables=[table],
    )


def show_audit(report: RunReport) -> Shown:
    """Test whether the loop uses its state, and whether that helps."""
    table, answer = tables.audit(report.files)
    return Shown(
        "Images right after the recipe's loop under five conditions; +- is the half width of a "
        f"95 % interval, paired by image. {_evaluated(report)}",
        tables=[table],
        sentences=[answer],
    )


def show_table3(report: RunReport) -> Shown:
    """Captions compared with copies and with other processes."""
    # Before the evaluation is read: without captions no option of it would help.
    if report.fresh.facts.pad is None:
        raise NotShownError("table 3 is of captions, and this run has none")
    return Shown(
        "The paper's table 3: captions of each kind, by CLIP's cosine to the image (95 %: "
        "bootstrap over images) and by their text; share is the position from shuffled to true "
        f"captions, by cosine. CLIP: {report.files.evaluated().clip or 'none given'}. "
        f"{_evaluated(report)}",
        tables=[tables.table3(report.files)],
    )


def show_accuracy(report: RunReport) -> Shown:
    """Figure 3."""
    data = accuracies(report.files)
    split = scored_split(report.files.run)
    return Shown(
        f"Accuracy while training (the paper's figure 3): {data.score} after each scored epoch, "
        f"averaged weights, of the run and of each control; {split} split, one seed, no interval. "
        f"From `{report.path}/metrics.jsonl` and its controls', written by `addkit train`.",
        f"Lines over epochs. {ends(data.lines)}",
        partial(draw_accuracy, data),
    )


def show_losses(report: RunReport) -> Shown:
    """Training losses."""
    data = losses(report.files)
    lines = [line for panel in data for line in panel.lines]
    return Shown(
        "Training losses, each point a mean over several steps. That of "
        "a diffusion is averaged over noise levels, and its noisy labels help it: its height does "
        "not compare with a control's, its slope does. "
        f"From `{report.path}/metrics.jsonl` and its controls', written by `addkit train`.",
        f"Lines over optimizer steps. {ends(lines)}",
        partial(draw_losses, data),
    )


def show_loss_by_time(report: RunReport) -> Shown:
    """Loss by noise level."""
    data = losses_by_time(report.files.run)
    return Shown(
        "Training loss by noise level: means over tokens in ten bins of t, and apart from them at "
        "t = T, pure noise; each line over the steps since the line before. "
        f"From `{report.path}/metrics.jsonl`, written by `addkit train`.",
        f"Lines over t. {ends(data)}",
        partial(draw_loss_by_time, data),
    )


def show_step_time(report: RunReport) -> Shown:
    """Time of the parts of an optimizer step."""
    data = step_times(report.files.run)
    return Shown(
        "Time of the parts of an optimizer step on rank 0, each point a mean over "
        "several steps; `data` is waiting for images. "
        f"From `{report.path}/metrics.jsonl`, written by `addkit train`.",
        f"Milliseconds over optimizer steps. {ends(data)}",
        partial(draw_step_time, data),
    )


def show_steps(report: RunReport) -> Shown:
    """Figure 5."""
    data = step_curves(report.files)
    band = " Bands: Wilson's 95 % interval over images." if data.lines[0].low else ""
    return Shown(
        f"{data.score} over sampling steps (the paper's figure 5), a line for each setting; "
        f"level lines do not depend on steps.{band} {_evaluated(report)}",
        f"Lines over sampling steps. {ends(data.lines)} "
        + " ".join(f"{level.name} is at {level.y:.3g}." for level in data.levels),
        partial(draw_steps, data),
    )


def show_chain(report: RunReport) -> Shown:
    """Figure 6."""
    data = chain_stories(report.fresh)
    # With one label the map has a row for each class, with several one for each token.
    several = report.fresh.facts.num_tokens > 1
    what = (
        "probability of each label of the final answer"
        if several
        else "the network's p(label | y_t, image)"
    )
    number = data[0].p.shape[1]
    return Shown(
        f"How an answer sharpens (the paper's figure 6): {what} at each of {number} steps of one "
        f"chain, for {len(data)} test images spread over the split. Run again with the weights of "
        f"`{report.path}`, by `{addkit_command('report', report.path)}`.",
        sharpening(data),
        partial(draw_chains, data),
    )


def show_reliability(report: RunReport) -> Shown:
    """Calibration of the confidences."""
    # The stored ones first: they are of all test images, and cost no pass of the network.
    stored = stored_reliabilities(report.files)
    data = stored or reliabilities(report.fresh)
    if not data:
        raise NotShownError(
            "no answer of this run comes with a probability; `addkit plot samples` shows them"
        )
    captions = (
        "; the confidence of a caption is the product of its tokens' probabilities"
        if report.fresh.facts.pad is not None
        else ""
    )
    source = _evaluated(report) if stored else _asked(report)
    return Shown(
        "Reliability: above, how often answers of some confidence are right, with Wilson's 95 % "
        f"interval, in bins of at least {FEWEST} answers; on the diagonal confidence equals "
        "accuracy. Below, the share of answers in each of 15 bins. ECE is the expected calibration "
        f"error{captions}. {source}",
        "Points near a diagonal. "
        + " ".join(f"{model.name}: calibration error {model.ece:.1f} percent." for model in data),
        partial(draw_reliability, data),
    )


def show_classes(report: RunReport) -> Shown:
    """Accuracy by class or attribute."""
    data = class_accuracies(report.fresh)
    of = "attribute" if report.fresh.facts.token_names else "class"
    worst = min(data, key=lambda each: each.right)
    few = f" Of all classes the {MOST_CLASSES} worst." if len(data) == MOST_CLASSES else ""
    return Shown(
        f"Images right by {of}, with Wilson's 95 % interval.{few} {_asked(report)}",
        f"A bar for each {of}. The lowest is {worst.name} with {worst.right:.1f} percent of "
        f"{worst.count} images.",
        partial(draw_classes, data),
    )


def show_confusion(report: RunReport) -> Shown:
    """Confusions of classes."""
    data = confusion(report.fresh)
    # The counts have the right answers too; pairs are mistakes alone.
    pairs = data.pairs()
    if not pairs:
        raise NotShownError(f"no image is confused. {_asked(report)}")
    matrix = len(data.names) <= MOST_CLASSES
    what = (
        "Rows are truths and add up to 100 percent; columns are answers"
        if matrix
        else f"The {len(pairs)} most frequent confusions of {len(data.names)} classes"
    )
    truth, answer, number = pairs[0]
    rows = [[data.names[k], data.names[j], str(n)] for k, j, n in data.pairs(10)]
    return Shown(
        f"Confusions. {what}. {_asked(report)}",
        f"The most frequent confusion: {data.names[truth]} taken for {data.names[answer]}, "
        f"{number} images.",
        partial(draw_confusion, data),
        tables=[Table(["truth", "answer", "images"], rows, words=2)],
    )


def show_samples(report: RunReport) -> Shown:
    """Images with their answers (figure 7)."""
    even, wrong = examples(report.fresh)
    groups = [(f"{len(even)} images spread over the test split, whatever the answer", even)]
    if wrong:
        groups.append((f"{len(wrong)} of the mistakes, the most confident first", wrong))
    # The run's own answers come first.
    right = sum(example.answers[0].right for example in even)
    return Shown(
        "Test images, the truth, and the answer of each model (for captions the paper's figure 7); "
        f"✓ right, ✗ wrong; percent is the answer's own confidence. {_asked(report)}",
        f"{len(even)} images, {right} answered right, and {len(wrong)} mistakes.",
        partial(draw_examples, [*even, *wrong]),
        examples=groups,
    )


def show_differences(report: RunReport) -> Shown:
    """The run minus its controls."""
    data = paired_differences(report.fresh)
    return Shown(
        "The run minus each control in images right, with 95 % intervals paired by image. Filled: "
        "the interval leaves out zero. It covers other images, not other training seeds: for those "
        f"see `addkit ablate`. {_asked(report)}",
        whiskers(data),
        partial(draw_differences, data),
    )


def show_origin(report: RunReport) -> Shown:
    """Recipe and versions, to repeat the run."""
    recipe = report.path / "recipe.toml"
    again = addkit_command("train", recipe, "--run-dir", "NEW")
    return Shown(
        f"To repeat it: `{again}`. The recipe is resolved, the whole experiment. "
        f"From `{report.path}/manifest.json` and `{recipe}`.",
        tables=[tables.origin(report.files), tables.versions(report.files.run)],
    )


def _evaluated(report: RunReport) -> str:
    again = addkit_command("evaluate", "--run", report.path)
    return f"From `{report.path}/evaluation.json`, written by `{again}`."


def _asked(report: RunReport) -> str:
    """The sentence on the origin of fresh predictions."""
    fresh = report.fresh
    count, total = len(fresh.indices), len(fresh.images)
    images = f"all {total:,}" if count == total else f"{count:,} of {total:,}"
    return (
        f"Predicted again with the weights of `{report.path}` for {images} images of its test "
        f"split, by `{addkit_command('report', report.path)}`."
    )


def ends(lines: Sequence[Line]) -> str:
    """The ends of each line, for readers who cannot see it."""
    return " ".join(f"{line.name} goes from {line.y[0]:.3g} to {line.y[-1]:.3g}." for line in lines)


def sharpening(data: Sequence[ChainStory]) -> str:
    """The largest probability at both ends of each chain, for readers who cannot see it."""
    return f"{len(data)} maps, rows by steps, the brighter the more probable. " + " ".join(
        f"{story.title}: the largest probability goes from {story.p[:, 0].max():.2f} "
        f"to {story.p[:, -1].max():.2f}."
        for story in data
    )


def whiskers(data: Differences) -> str:
    """Each difference, for readers who cannot see it."""
    return " ".join(
        f"{row.name}: {row.mean:+.2f}"
        + ("." if row.low is None else f", from {row.low:+.2f} to {row.high:+.2f}.")
        for row in data.rows
    )
