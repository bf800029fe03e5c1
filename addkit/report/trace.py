"""Figure 6: how the predicted distribution changes over the sampling steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from addkit.diffusion import ChainStep, log_likelihood_scale
from addkit.errors import UsageError
from addkit.plugin.protocols import Schedule
from addkit.report.figures.style import spread

MOST_IMAGES = 8
MOST_PANELS = 6
MOST_CLASSES = 12
TITLE = "Filled: the network's p(label | y_t, image).  Outlined: p(label | y_t) alone."
ENDINGS: tuple[str, ...] = (".png", ".svg", ".pdf")


def check_target(path: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Raise `UsageError` if no file of these endings can be written there."""
    if path.suffix.lower() not in endings:
        raise UsageError(f'--trace {path}: ending "{path.suffix}"; known: {", ".join(endings)}')
    if not path.parent.is_dir():
        raise UsageError(f"--trace {path}: there is no folder {path.parent}")


def draw_trace(
    path: Path,
    steps: Sequence[ChainStep],
    pictures: Tensor,
    names: Sequence[str],
    class_names: Sequence[str],
    schedule: Schedule,
) -> None:
    """Draw the first chain of each image: the image, then its distributions at some of the steps.

    Filled: the network's p(y_0 | y_t, c). Outlined: the likelihood of y_t alone, softmax(c_t y_t).

    Args:
        path: .png, .svg or .pdf.
        steps: of one chain run over all images.
        pictures: the images before normalisation, (B, channels, size, size) in [0, 1].
        names: a title for each image.
        class_names: K names. Of many classes those that were ever most probable are shown, and the
            others as one.
        schedule: for c_t.

    Raises:
        UsageError: another file ending.
    """
    check_target(path)
    # More panels than these are too small to read.
    shown = [steps[i] for i in spread(len(steps), MOST_PANELS)]
    with mpl.rc_context(
        {
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.parse_math": False,  # Names of files and classes may hold dollar signs.
        }
    ):
        figure = Figure(figsize=(1.9 + 1.75 * len(shown), 0.5 + 1.75 * len(names)))
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(names), 1 + len(shown), squeeze=False)
        for row, (line, name) in enumerate(zip(axes, names, strict=True)):
            pixels = pictures[row].clamp(0, 1).permute(1, 2, 0).numpy()  # (size, size, channels)
            line[0].imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray")
            line[0].set_title(Path(name).name[-24:])
            line[0].set_axis_off()
            _draw_bars(line[1:], row, steps, shown, class_names, schedule)
        figure.suptitle(TITLE, x=0.01, ha="left")
        figure.tight_layout()
        figure.savefig(path, dpi=150)


def _draw_bars(
    axes: Sequence[Axes],
    image: int,
    steps: Sequence[ChainStep],
    shown: Sequence[ChainStep],
    class_names: Sequence[str],
    schedule: Schedule,
) -> None:
    # The same classes in all panels of an image, so that bars can be followed.
    classes = leading(steps, image)
    rest = ["rest"] if len(classes) < len(class_names) else []
    labels = [*(class_names[k][:14] for k in classes), *rest]
    for axis, step in zip(axes, shown, strict=True):
        heights = _heights(_distribution(step, image), classes, bool(rest))
        best = int(np.argmax(heights))
        colours = ["#c44e52" if i == best else "#7f9bb5" for i in range(len(heights))]
        axis.bar(range(len(heights)), heights, color=colours)
        # Outlined over the filled bars: y_t alone, softmax(c_t y_t) of the first chain and token.
        # A chain that keeps no y_t has a flat outline at 0.
        alone_p = torch.zeros(step.logits.shape[-1])
        if step.y_t is not None:
            c_t = log_likelihood_scale(schedule.alpha_bar(torch.tensor(step.t)), schedule.scale)
            alone_p = (c_t * step.y_t[image, 0, 0]).softmax(-1)  # (K,)
        alone = _heights(alone_p, classes, bool(rest))
        axis.bar(range(len(alone)), alone, fill=False, edgecolor="#333333", linewidth=0.8)
        axis.set_ylim(0, 1)
        axis.set_xticks(range(len(heights)), labels, rotation=90)
        axis.set_title(f"step {step.index + 1}, t = {step.t:.2f}")


def _heights(distribution: Tensor, classes: Sequence[int], rest: bool) -> list[float]:
    heights = [float(distribution[k]) for k in classes]
    # Rounding may leave the sum above 1.
    return [*heights, max(0.0, 1 - sum(heights))] if rest else heights


def _distribution(step: ChainStep, image: int) -> Tensor:
    return step.logits[image, 0, 0].softmax(-1)


def leading(steps: Sequence[ChainStep], image: int) -> list[int]:
    """The classes of an image to show: all of a few, else those that were ever most probable."""
    largest = np.stack([_distribution(step, image).numpy() for step in steps]).max(0)  # (K,)
    if len(largest) <= MOST_CLASSES:
        return list(range(len(largest)))
    return sorted(np.argsort(-largest)[: MOST_CLASSES - 1].tolist())
