"""Features of a frozen encoder: whether, where and how large, and computing those not there yet."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import sleep
from typing import Any, cast

import numpy as np
import torch

from addkit.data.features import (
    images_digest,
    is_whole,
    locked,
    pool_digest,
    read_table,
    weights_digest,
    with_features,
    write_table,
)
from addkit.data.loader import load
from addkit.diffusion import counted_seed
from addkit.errors import AddkitWarning
from addkit.model import Network
from addkit.plugin.protocols import Encoder, ImageSet
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.runs.checkpoint_files import fault_of
from addkit.runs.disk import format_bytes
from addkit.version import __version__

BATCH, BATCH_ON_CPU = 64, 16
"""Images at a time, so that progress is shown often and a signal is obeyed soon."""
COMPARED = 4
"""Training images that are compared between epochs: a data set that draws images draws all."""
HEAD_START = 1.0
"""Seconds by which the first process of a machine is ahead: it is the one that shows progress."""
APART = frozenset({"frozen", "lr_scale", "pretrained", "weights", "drop_path"})
"""Settings of an encoder that its features do not depend on; its weights count by value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan:
    """The place and the size of cached features, or why there are none."""

    folder: str
    images: int
    """Of all splits; each view counts."""
    tokens: int
    """Of an image, as the conditioner reads them."""
    width: int
    bytes: int
    reason: str = ""
    """Why features are computed in each step instead; empty if they are cached."""
    ignored: tuple[str, ...] = ()
    """Keys of [augmentation] that have no effect while features are read."""

    def text(self) -> str:
        """Such as `799 images x 1,280 numbers, 4.09 MB in cache/features`."""
        sizes = f"{self.tokens:,} x {self.width:,}" if self.tokens > 1 else f"{self.width:,}"
        size = format_bytes(self.bytes)
        return f"{self.images:,} images x {sizes} numbers, {size} in {self.folder}"


def plan_features(recipe: Recipe, facts: DataFacts, network: Network) -> FeaturePlan | None:
    """The plan for a recipe's network, which may have no memory; None if nothing is to be cached.

    Whether the data set draws other images in each epoch by itself only `FeatureCache` finds out.
    """
    settings, augmentation = recipe.features, recipe.augmentation
    if not network.frozen or settings.cache is False:
        return None
    encoder = cast("Encoder", network.encoder)
    tokens, width = network.pool(torch.zeros(1, encoder.num_tokens, encoder.width)).shape[1:]
    images = sum(
        size * (settings.views or 1 if name == "train" else 1)
        for name, size in facts.split_sizes.items()
    )
    left_out = augmentation.mixes if settings.views else augmentation.active
    reason = changed_reason(f"[augmentation] {', '.join(left_out)}") if left_out else ""
    cached = not reason or settings.cache is True
    return FeaturePlan(
        folder=str(settings.folder),
        images=images,
        tokens=tokens,
        width=width,
        bytes=images * tokens * width * np.dtype(settings.dtype).itemsize,
        reason="" if cached else reason,
        ignored=left_out if cached else (),
    )


def in_last_stage(recipe: Recipe, facts: DataFacts, network: Network) -> tuple[int, ...]:
    """Bring a fresh network to the stage in which its training ends.

    Returns:
        the shape of an image in a step there: that of its pixels, or of its features.
    """
    if recipe.training.unfreeze_after:
        network.unfreeze()
    plan = plan_features(recipe, facts, network)
    if plan is not None and not plan.reason:
        return plan.tokens, plan.width
    return facts.image_channels, facts.image_size, facts.image_size


def changed_reason(what: str) -> str:
    """Why features are not cached, and what would allow it."""
    return (
        f"{what} gives other images in each epoch, so the encoder runs in every step; "
        "features.views = 4 would cache four fixed views of each, features.cache = true the "
        "images as they are"
    )


class FeatureCache:
    """The tables of one training.

    Args:
        recipe: of the training.
        facts: of its data.
        network: with the encoder, whole and on its device.
        splits: images by split.
        workers: processes that read images.
        leads: False for processes that let another one of this machine begin.
    """

    def __init__(
        self,
        recipe: Recipe,
        facts: DataFacts,
        network: Network,
        splits: Mapping[str, ImageSet],
        *,
        workers: int = 0,
        leads: bool = True,
    ) -> None:
        self.recipe, self.facts, self.network, self.splits = recipe, facts, network, splits
        self.workers, self.leads = workers, leads
        encoder = cast("Encoder", network.encoder)
        self.shape = (encoder.num_tokens, encoder.width)
        choice = recipe.choices["encoder"]
        settings = choice.config.model_dump(mode="json", exclude=APART)
        self._encoder = [__version__, choice.name, choice.plugin, settings, recipe.features.dtype]
        self._encoder.append(weights_digest(network.encoder))
        # A table of all tokens, such as ADD's where its control reads their mean, serves as well.
        pools = (network.pool, lambda tokens: tokens)
        self._pools = list(dict.fromkeys(pool_digest(pool, self.shape) for pool in pools))

    def changes(self) -> bool:
        """True if the data set draws other training images in each epoch."""
        train = self.splits["train"]
        indices = list(range(min(COMPARED, len(train))))
        one, other = (train.batch(indices, seed).images for seed in (1, 2))
        return not torch.equal(one, other)

    def open(self, report: Callable[[int, int | None], None]) -> dict[str, ImageSet]:
        """Every split with features in place of images; those that are missing are computed.

        Args:
            report: called with the images that are done, and those to compute; the first time with
                None for them.

        Raises:
            RunError: the folder cannot be written, or the disk is full.
        """
        report(0, None)
        views = self.recipe.features.views
        # Of no run's seed: all seeds of a recipe share its views.
        seeds = [counted_seed(0, "view", view) for view in range(views)]
        wanted: list[tuple[str, int | None]] = [
            (name, seed)
            for name in self.splits
            for seed in (seeds if name == "train" and seeds else [None])
        ]
        tables = {each: self._path(*each) for each in wanted}
        found = {
            each: next((path for path in paths if is_whole(path)), None)
            for each, paths in tables.items()
        }
        for each, whole in found.items():
            if whole is None and (damaged := tables[each][0]).is_dir():
                text = f"{fault_of(damaged)}; these features are computed again"
                warnings.warn(text, AddkitWarning, stacklevel=2)
        total = sum(len(self.splits[name]) for (name, _), path in found.items() if path is None)
        report(0, total)
        done = 0

        def computed(images: int) -> None:
            nonlocal done
            done += images
            report(done, total)

        opened: dict[str, list[np.ndarray[Any, Any]]] = {}
        for (name, seed), whole in found.items():
            path = whole or tables[name, seed][0]
            if whole is None:
                if not self.leads:
                    sleep(HEAD_START)
                with locked(path):
                    # Another process may have written it meanwhile.
                    if is_whole(path):
                        computed(len(self.splits[name]))
                    else:
                        self._write(path, name, seed, computed)
            opened.setdefault(name, []).append(read_table(path))
        return {name: with_features(images, opened[name]) for name, images in self.splits.items()}

    def _path(self, name: str, seed: int | None) -> tuple[Path, ...]:
        """The table of a split, and the one with all of the encoder's tokens."""
        augmentation = self.recipe.augmentation.model_dump(mode="json")
        settings = None if seed is None else augmentation
        images = images_digest(self.splits[name], self.facts, seed, settings)
        folder = self.recipe.features.folder.expanduser()
        about = [*self._encoder, images, self._is_low(name)]
        keys = (sha256(json.dumps([*about, pool]).encode()).hexdigest() for pool in self._pools)
        return tuple(folder / f"{name}-{key[:32]}" for key in keys)

    def _is_low(self, name: str) -> bool:
        """True if the encoder runs in bfloat16: as without a cache, in training alone."""
        return self.recipe.training.precision == "bfloat16" and name == "train"

    def _write(
        self, path: Path, name: str, seed: int | None, report: Callable[[int], None]
    ) -> None:
        network, images = self.network, self.splits[name]
        device = network.diffusion.null_token.device
        tokens = network.pool(torch.zeros(1, *self.shape)).shape[1:]

        def parts() -> Iterator[np.ndarray[Any, Any]]:
            order = range(len(images))
            size = BATCH_ON_CPU if device.type == "cpu" else BATCH
            slices = [list(order[start : start + size]) for start in order[::size]]
            for batch in load(images, slices, seed, self.workers):
                with (
                    torch.inference_mode(),
                    torch.autocast(device.type, torch.bfloat16, enabled=self._is_low(name)),
                ):
                    kept = network.pool(network.tokens(batch.images.to(device)))  # (B, L', W)
                yield kept.float().cpu().numpy()
                report(len(batch.indices))

        network.eval()
        shape = (len(images), int(tokens[0]), int(tokens[1]))
        write_table(path, parts(), shape, self.recipe.features.dtype)
