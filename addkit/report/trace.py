"""Figure 6: how predictions sharpen over the sampling steps.

One label makes a figure of its distributions, captions and attributes a page to step through.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from addkit.diffusion import ChainStep, log_likelihood_scale
from addkit.errors import UsageError
from addkit.plugin.protocols import Schedule
from addkit.report.figures.style import spread
from addkit.runs.atomic import whole_file, write_text

MOST_IMAGES = 8
MOST_PANELS = 6
MOST_CLASSES = 12
TITLE = "Filled: the network's p(label | y_t, image).  Outlined: p(label | y_t) alone."
ENDINGS: tuple[str, ...] = (".png", ".svg", ".pdf")
PAGE_ENDINGS: tuple[str, ...] = (".html",)


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
    Raises `UsageError` for another file ending.

    Args:
        path: .png, .svg or .pdf.
        steps: of one chain run over all images.
        pictures: the images before normalisation, (B, channels, size, size) in [0, 1].
        names: a title for each image.
        class_names: K names. Of many classes those that were ever most probable are drawn, and the
            others as one.
        schedule: for c_t.
    """
    check_target(path)
    # More panels than these are too small to read.
    panels = [steps[i] for i in spread(len(steps), MOST_PANELS)]
    with mpl.rc_context(
        {
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.parse_math": False,  # Names of files and classes may contain dollar signs.
        }
    ):
        figure = Figure(figsize=(1.9 + 1.75 * len(panels), 0.5 + 1.75 * len(names)))
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(names), 1 + len(panels), squeeze=False)
        for row, (line, name) in enumerate(zip(axes, names, strict=True)):
            pixels = pictures[row].clamp(0, 1).permute(1, 2, 0).numpy()  # (size, size, channels)
            line[0].imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray")
            line[0].set_title(Path(name).name[-24:])
            line[0].set_axis_off()
            _draw_bars(line[1:], row, steps, panels, class_names, schedule)
        figure.suptitle(TITLE, x=0.01, ha="left")
        # After all labels are set, since their sizes decide the margins.
        figure.tight_layout()
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=150, format=path.suffix[1:].lower())


def _draw_bars(
    axes: Sequence[Axes],
    image: int,
    steps: Sequence[ChainStep],
    panels: Sequence[ChainStep],
    class_names: Sequence[str],
    schedule: Schedule,
) -> None:
    # The same classes in all panels of an image, so that bars can be followed.
    classes = leading(steps, image)
    rest = ["rest"] if len(classes) < len(class_names) else []
    labels = [*(class_names[k][:14] for k in classes), *rest]
    for axis, step in zip(axes, panels, strict=True):
        heights = _heights(_distribution(step, image), classes, bool(rest))
        # The most probable label is red, the others are blue.
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
        # One scale for all panels, so that heights compare.
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


MOST_CANDIDATES = 5
FREE, SETTLED, GIVEN = range(3)
NOT_WRITTEN = -1


def draw_caption_trace(
    path: Path,
    steps: Sequence[ChainStep],
    pictures: Tensor,
    names: Sequence[str],
    class_names: Sequence[str],
    pad: int | None,
    token_names: Sequence[str] = (),
    decode: Callable[[list[int]], str] | None = None,
) -> None:
    """Write a page without outside parts: the first chain of up to 8 images, step by step.

    A token shows its clean label with the label's softmax(logits), and under the pointer its 5 most
    probable labels. It is settled from the step after which its logits do not change, and given if
    from the first step on they have all probability on one label. A token whose logits are all
    equal is not written yet. Raises `UsageError` for another file ending or a missing folder.

    Args:
        path: .html.
        steps: of one chain run over all images.
        pictures: the images before normalisation, (B, channels, size, size) in [0, 1].
        names: a title for each image.
        class_names: K names.
        pad: the class that ends a caption; None where each token is part of the answer.
        token_names: N names of attributes; empty for captions.
        decode: the text for a caption's ids; None joins the names with spaces.
    """
    check_target(path, PAGE_ENDINGS)
    words = _Words(class_names, pad, token_names, decode)
    images = []
    for image, (name, picture) in enumerate(zip(names[:MOST_IMAGES], pictures, strict=False)):
        # (channels, size, size) in [0, 1] -> (size, size[, channels]) bytes
        pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        file = BytesIO()
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        uri = "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")
        # The first chain of the image.
        logits = torch.stack([step.logits[image, 0] for step in steps]).float()  # (S, N, K)
        ids = torch.stack([step.clean.ids[image, 0] for step in steps])  # (S, N)
        # Equal logits: the sampler has not predicted this token yet.
        ids = ids.masked_fill(logits.amax(-1) == logits.amin(-1), NOT_WRITTEN)
        cells, rows = _cells(logits, ids, words), ids.tolist()
        story = {"texts": list(map(words.text, rows)), "stops": list(map(words.stop, rows))}
        images.append({"name": Path(name).name, "picture": uri, "steps": cells, **story})
    data = {
        "t": [round(step.t, 4) for step in steps],
        "words": [class_names[k] for k in words.indices],
        "tokens": list(token_names),
        "size": pictures.shape[-1],
        "images": images,
    }
    page = resources.files("addkit.report").joinpath("caption_trace.html").read_text("utf-8")
    # No text of the data can end the script element, or start a comment in it.
    text = json.dumps(data, separators=(",", ":"))
    text = text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
    write_text(path, page.replace("@DATA@", text))


@dataclass(frozen=True, slots=True)
class _Words:
    """Texts of labels, and the table of those that the page needs."""

    class_names: Sequence[str]
    pad: int | None
    token_names: Sequence[str]
    decode: Callable[[list[int]], str] | None
    indices: dict[int, int] = field(default_factory=dict)
    """Class -> its index in the page's table."""

    def index(self, label: int) -> int:
        return self.indices.setdefault(label, len(self.indices))

    def stop(self, ids: list[int]) -> int:
        """The number of tokens before the first that is a pad or not written yet."""
        return next((n for n, k in enumerate(ids) if k in (self.pad, NOT_WRITTEN)), len(ids))

    def text(self, ids: list[int]) -> str:
        caption = ids[: self.stop(ids)]
        if self.decode is not None:
            return self.decode(caption)
        words = [self.class_names[k] for k in caption]
        if not self.token_names:
            return " ".join(words)
        return ", ".join(f"{n}: {w}" for n, w in zip(self.token_names, words, strict=False))

    def cell(self, token: list[int], candidates: list[int]) -> list[int]:
        """[label, its probability, mark, candidate, its probability, candidate, ...]."""
        label, p, mark = token
        if label == NOT_WRITTEN:
            return [label, 0, mark]
        # [id, thousandths, id, thousandths, ...] -> pairs; those of 0 would only fill the page.
        pairs = zip(candidates[::2], candidates[1::2], strict=True)
        best = [x for k, share in pairs if share for x in (self.index(k), share)]
        return [self.index(label), p, mark, *best]


def _cells(logits: Tensor, ids: Tensor, words: _Words) -> list[list[list[int]]]:
    """Logits (S, N, K), labels (S, N) -> a cell for each step and token."""
    same = (logits[1:] == logits[:-1]).all(-1) & (ids[1:] == ids[:-1])  # (S - 1, N)
    # From the last step backwards: equal to the next step, and so are all that follow.
    stays = same.flip(0).cumprod(0).flip(0).bool()
    # The first step is never settled: nothing came before it.
    settled = torch.cat([torch.zeros_like(ids[:1], dtype=torch.bool), stays])
    p = logits.softmax(-1)  # (S, N, K)
    # The caller's own labels: fixed from the start, with all probability on one class.
    given = stays[:1].all(0) & (p[0].amax(-1) == 1)  # (N,)
    marks = torch.where(given, GIVEN, torch.where(settled, SETTLED, FREE))  # (S, N)
    own = p.gather(-1, ids.clamp_min(0).unsqueeze(-1)).squeeze(-1)  # (S, N)
    tokens = torch.stack([ids, _thousandths(own), marks], -1)  # (S, N, 3)
    # (S, N, 5) each: indices and probabilities.
    best = p.topk(min(MOST_CANDIDATES, p.shape[-1]))
    candidates = torch.stack([best.indices, _thousandths(best.values)], -1).flatten(2)  # (S, N, 10)
    return [
        [words.cell(*token) for token in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), candidates.tolist(), strict=True)
    ]


def _thousandths(p: Tensor) -> Tensor:
    # Integers: a page of many steps and tokens would be three times as large with decimals.
    return (p * 1000).round().long()
