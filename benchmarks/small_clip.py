"""Train a small CLIP on the emoji: an instrument for tests, so that CLIP score works offline.

    python benchmarks/small_clip.py OUT_FOLDER [--epochs 12 | --seconds S] [--data FOLDER]

open_clip's own model, tokenizer and loss, 64-pixel images, the emoji that come with addkit.
OUT_FOLDER then is a CLIP that addkit takes by its path. It prints, as JSON, how ground truth and
shuffled captions of held-out combinations compare. A number of epochs gives the same weights on
each run with one thread (OMP_NUM_THREADS=1); seconds do not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import open_clip
import torch
from measure import note
from PIL.Image import Image, fromarray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from addkit.data.emoji import emoji_bitmaps, emoji_list
from addkit.data.images import read_image
from addkit.diffusion import counted_generator, counted_seed
from addkit.metrics.clip import CONFIG_FILE, PREFIX, ClipScorer, parse_clip
from addkit.runs.atomic import whole_folder, write_json, write_text

BATCH, PEAK_LR, DECAY, WARMUP = 128, 3e-3, 0.1, 0.05
SHIFT = 4
"""Pixels by which a training image may move."""
RESAMPLES = 2000

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
        "text_cfg": {"context_length": 20, "width": 64, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "weights_name": "small-clip (trained on the emoji, for tests)",
}
"""open_clip_config.json. open_clip ignores `weights_name`; addkit prints it with every score."""

README = """\
A small CLIP trained on emoji pictures and their names by addkit's `benchmarks/small_clip.py`.
It is an instrument for tests and knows nothing but emoji. Its scores compare with no other CLIP's.
"""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images and their captions."""

    images: list[Image]
    captions: list[str]


@dataclass(frozen=True, slots=True)
class Budget:
    """Length of the training: passes over the data, or seconds."""

    epochs: int
    seconds: float | None

    def spent(self, step: int, epoch_steps: int, started: float) -> float:
        """The share of the budget that is spent; training ends at 1."""
        if self.seconds is None:
            return step / (self.epochs * epoch_steps)
        return (perf_counter() - started) / self.seconds


def main() -> int:
    """Train, write, compare."""
    arguments = _arguments()
    training, held_out = folder_pairs(arguments.data) if arguments.data else embedded_pairs()
    note(f"{len(training.captions)} pairs to train on, {len(held_out.captions)} held out")
    started = perf_counter()
    model = train(training, Budget(arguments.epochs, arguments.seconds), arguments.seed)
    seconds = perf_counter() - started
    write_model(model, arguments.out)
    scores = compare(arguments.out, held_out, arguments.seed)
    print(json.dumps({"seed": arguments.seed, "train_seconds": round(seconds, 1), **scores}))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small CLIP on the emoji, for tests.")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, default=12)
    length.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="emoji laid out as COCO: captions.json, images/, splits/A_val.txt",
    )
    arguments = parser.parse_args()
    out = arguments.out
    if out.exists() and not (out / CONFIG_FILE).is_file():
        parser.error(f'"{out}" exists and is no CLIP model. Choose another folder')
    return arguments


def embedded_pairs() -> tuple[Pairs, Pairs]:
    """Training and held-out pairs of the emoji that come with addkit."""
    emoji = emoji_list()
    drawings = emoji_bitmaps(range(len(emoji)), torch.zeros(len(emoji), 1)).values
    pictures = [fromarray(one.permute(1, 2, 0).numpy()) for one in drawings]

    def pairs(split: str) -> Pairs:
        chosen = [place for place, one in enumerate(emoji) if one.split == split]
        return Pairs([pictures[one] for one in chosen], [emoji[one].caption for one in chosen])

    return pairs("train"), pairs("test")


def folder_pairs(folder: Path) -> tuple[Pairs, Pairs]:
    """Pairs of a folder in COCO's layout; its split A holds out combinations."""
    told = json.loads((folder / "captions.json").read_text("utf-8"))
    files = {image["id"]: folder / "images" / image["file_name"] for image in told["images"]}
    captions = {one["image_id"]: one["caption"] for one in told["annotations"]}
    held = {int(line) for line in (folder / "splits" / "A_val.txt").read_text("utf-8").split()}

    def pairs(ids: list[int]) -> Pairs:
        return Pairs([read_image(files[one], 3) for one in ids], [captions[one] for one in ids])

    return pairs([one for one in files if one not in held]), pairs(sorted(held))


def train(pairs: Pairs, budget: Budget, seed: int) -> nn.Module:
    """AdamW on open_clip's contrastive loss; the learning rate warms up and falls as a cosine."""
    torch.manual_seed(counted_seed(seed, "small clip"))
    model, preprocess, tokenize = _new_model()
    images = torch.stack([preprocess(image) for image in pairs.images])
    texts = tokenize([PREFIX + caption for caption in pairs.captions])
    optimizer = torch.optim.AdamW(_groups(model), lr=PEAK_LR, betas=(0.9, 0.98), fused=True)
    contrast = open_clip.ClipLoss()
    per_epoch = len(images) // BATCH
    started, step, spent = perf_counter(), 0, 0.0
    while spent < 1:
        rows = _rows(len(images), step, per_epoch, seed)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * _rate(spent)
        seen, read, scale = model(_shifted(images[rows], seed, step), texts[rows])
        loss = contrast(seen, read, scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        spent = budget.spent(step, per_epoch, started)
        if step % per_epoch == 0:
            note(f"epoch {step // per_epoch}, loss {loss.item():.3f}, {spent:.0%}")
    return model.eval()


def _new_model() -> tuple[nn.Module, Callable[[Image], Tensor], open_clip.SimpleTokenizer]:
    """The model of CONFIG, with weights drawn from torch's generator."""
    parts = CONFIG["model_cfg"]
    size, context = parts["vision_cfg"]["image_size"], parts["text_cfg"]["context_length"]
    preprocess = open_clip.image_transform(size, is_train=False, **CONFIG["preprocess_cfg"])
    model = open_clip.CLIP(**parts)
    model.visual.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    return model, preprocess, open_clip.SimpleTokenizer(context_length=context)


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups: weights decay; biases, norms and the temperature do not."""
    parameters = list(model.parameters())
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": DECAY},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]


def _rate(spent: float) -> float:
    warm = min(1.0, spent / WARMUP + 0.01)
    return warm * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(1.0, spent)))).item()


def _rows(count: int, step: int, per_epoch: int, seed: int) -> Tensor:
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(count, generator=counted_generator(seed, "small clip order", epoch))
    return order[place * BATCH : (place + 1) * BATCH]


def _shifted(images: Tensor, seed: int, step: int) -> Tensor:
    """Each image moved by up to SHIFT pixels; white comes in."""
    generator = counted_generator(seed, "small clip shifts", step)
    count, _, height, width = images.shape
    moves = torch.randint(2 * SHIFT + 1, (2, count, 1), generator=generator)
    rows, columns = moves[0] + torch.arange(height), moves[1] + torch.arange(width)
    wide = functional.pad(images, [SHIFT] * 4, value=1.0)
    which = torch.arange(count)[:, None, None]
    return wide.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def write_model(model: nn.Module, out: Path) -> None:
    """Write config, weights and a README, all or nothing."""
    with whole_folder(out) as folder:
        write_json(folder / CONFIG_FILE, CONFIG)
        plain = model.to(memory_format=torch.contiguous_format)  # all that safetensors can hold
        save_file(plain.state_dict(), folder / "open_clip_model.safetensors")
        write_text(folder / "README.md", README)


def compare(out: Path, pairs: Pairs, seed: int) -> dict[str, Any]:
    """Mean cosine of ground truth and of shuffled captions with 95 % intervals; retrieval."""
    scorer = ClipScorer(parse_clip(str(out)))
    images, captions = scorer.image_features(pairs.images), scorer.text_features(pairs.captions)
    cosines = images @ captions.T
    others = _derangement(len(captions), counted_generator(seed, "small clip shuffle"))
    truth = cosines.diagonal()
    ranks = (cosines > truth[:, None]).sum(1)
    return {
        "clip": str(scorer.describe()),
        "pairs": len(captions),
        "ground_truth": _interval(truth),
        "shuffled": _interval(cosines[torch.arange(len(captions)), others]),
        "top1": round(float((ranks < 1).float().mean()), 3),
        "top5": round(float((ranks < 5).float().mean()), 3),
    }


def _derangement(count: int, generator: torch.Generator) -> Tensor:
    """A random permutation of one cycle, so that no item keeps its index."""
    cycle = torch.randperm(count, generator=generator)
    return torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1))


def _interval(values: Tensor) -> dict[str, float]:
    """Mean, and the 2.5 and 97.5 % quantiles of means of resampled images."""
    generator = counted_generator(0, "small clip bootstrap")
    picks = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    low, high = values[picks].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return {"mean": round(float(values.mean()), 4), "low": round(low, 4), "high": round(high, 4)}


if __name__ == "__main__":
    sys.exit(main())
