"""A page that shows how captions and attributes sharpen over the sampling steps."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from addkit.diffusion import ChainStep
from addkit.report.trace import MOST_IMAGES, check_target
from addkit.runs.atomic import write_text

ENDINGS: tuple[str, ...] = (".html",)
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
    equal is not written yet.

    Args:
        path: .html.
        steps: of one chain run over all images.
        pictures: the images before normalisation, (B, channels, size, size) in [0, 1].
        names: a title for each image.
        class_names: K names.
        pad: the class that ends a caption; None where each token is part of the answer.
        token_names: N names of attributes; empty for captions.
        decode: the text for a caption's ids; None joins the names with spaces.

    Raises:
        UsageError: another file ending, or no such folder.
    """
    check_target(path, ENDINGS)
    words = _Words(class_names, pad, token_names, decode)
    images = []
    for image, (name, picture) in enumerate(zip(names[:MOST_IMAGES], pictures, strict=False)):
        # (channels, size, size) in [0, 1] -> (size, size[, channels]) bytes
        pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        file = BytesIO()
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        uri = "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")
        images.append({"name": Path(name).name, "picture": uri, **_story(steps, image, words)})
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
        pairs = zip(candidates[::2], candidates[1::2], strict=True)
        best = [x for k, share in pairs if share for x in (self.index(k), share)]
        return [self.index(label), p, mark, *best]


def _story(steps: Sequence[ChainStep], image: int, words: _Words) -> dict[str, Any]:
    """The first chain of an image, a list entry for each step."""
    logits = torch.stack([step.logits[image, 0] for step in steps]).float()  # (S, N, K)
    ids = torch.stack([step.clean.ids[image, 0] for step in steps])  # (S, N)
    # Equal logits: the sampler has not predicted this token yet.
    ids = ids.masked_fill(logits.amax(-1) == logits.amin(-1), NOT_WRITTEN)
    rows = ids.tolist()
    return {
        "steps": _cells(logits, ids, words),
        "texts": [words.text(row) for row in rows],
        "stops": [words.stop(row) for row in rows],
    }


def _cells(logits: Tensor, ids: Tensor, words: _Words) -> list[list[list[int]]]:
    """Logits (S, N, K), labels (S, N) -> a cell for each step and token."""
    p = logits.softmax(-1)
    own = p.gather(-1, ids.clamp_min(0).unsqueeze(-1)).squeeze(-1)  # (S, N)
    tokens = torch.stack([ids, _thousandths(own), _marks(logits, ids)], -1)  # (S, N, 3)
    best = p.topk(min(MOST_CANDIDATES, p.shape[-1]))
    candidates = torch.stack([best.indices, _thousandths(best.values)], -1).flatten(2)
    return [
        [words.cell(*token) for token in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), candidates.tolist(), strict=True)
    ]


def _thousandths(p: Tensor) -> Tensor:
    # Integers: a page of many steps and tokens would be three times as large with decimals.
    return (p * 1000).round().long()


def _marks(logits: Tensor, ids: Tensor) -> Tensor:
    """(S, N): FREE, SETTLED or GIVEN."""
    same = (logits[1:] == logits[:-1]).all(-1) & (ids[1:] == ids[:-1])  # (S - 1, N)
    # From the last step backwards: equal to the next step, and so are all that follow.
    stays = same.flip(0).cumprod(0).flip(0).bool()
    # The first step is never settled: nothing came before it.
    settled = torch.cat([torch.zeros_like(ids[:1], dtype=torch.bool), stays])
    # The caller's own labels: fixed from the start, with all probability on one class.
    given = stays[:1].all(0) & (logits[0].softmax(-1).amax(-1) == 1)
    return torch.where(given, GIVEN, torch.where(settled, SETTLED, FREE))
