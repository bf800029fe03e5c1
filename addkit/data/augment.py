"""Changes to training images, each decided by (seed, index) alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample

from addkit.data.boxes import covered, random_boxes
from addkit.data.counting import uniforms
from addkit.data.pixels import Pixels, cut, to_pixels
from addkit.diffusion.randomness import counted_seed
from addkit.errors import RecipeError
from addkit.recipe.model import Augmentation

__all__ = ["Augmenter", "seeded"]

# Which uniforms of an image decide what. Each has its own, so switching one change on or off
# leaves the others as they were.
_FLIP, _DOWN, _ACROSS, _ERASE = 0, 1, 2, 3
_CROP_BOX, _ERASE_BOX = slice(4, 8), slice(8, 12)
_DRAWS = 12

_CROP_RATIO = (3 / 4, 4 / 3)
_ERASE_AREA, _ERASE_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)


class Augmenter:
    """A recipe's augmentation for inputs of one size.

    Order: crop, RandAugment, shift, flip, normalise, erase. Methods take `draws`, the uniforms
    (12, B) of a batch's images.
    """

    def __init__(self, augmentation: Augmentation, pixels: Pixels) -> None:
        """Raises `RecipeError` for a RandAugment string that timm refuses."""
        self._settings = augmentation
        self._pixels = pixels
        self._recolour = _rand_augment(augmentation.rand_augment, pixels)

    def draws(self, seed: int, indices: Sequence[int]) -> Tensor:
        """Uniforms (12, B) that decide everything but RandAugment."""
        return uniforms(seed, torch.tensor(indices), _DRAWS).T.contiguous()

    def cut_file(self, image: Image.Image, draws: Tensor) -> Image.Image:
        """A random resized crop of one image of any size; without `crop`, the test split's."""
        boxes = self._crop_boxes(draws, image.height, image.width)
        if boxes is None:
            return self._pixels.fit(image)
        top, left, height, width = boxes[0].tolist()
        return cut(image, top, left, height, width, self._pixels.image_size)

    def cut_batch(self, images: Tensor, draws: Tensor) -> Tensor:
        """Random resized crops, (B, C, S, S) -> the same shape."""
        boxes = self._crop_boxes(draws, images.shape[2], images.shape[3])
        return images if boxes is None else _resampled(images, boxes)

    def recolour_file(self, image: Image.Image, seed: int, index: int) -> Image.Image:
        """RandAugment as timm has it, if the recipe asks for it."""
        if self._recolour is None:
            return image
        with seeded(counted_seed(seed, "rand-augment", index)):
            return self._recolour(image.convert("RGB")).convert(image.mode)

    def recolour_batch(self, images: Tensor, seed: int, indices: Sequence[int]) -> Tensor:
        """The same for (B, C, S, S) in [0, 1], through 8 bits."""
        if self._recolour is None:
            return images
        files = zip(map(_to_file, images), indices, strict=True)
        return torch.stack([to_pixels(self.recolour_file(file, seed, i)) for file, i in files])

    def finish(self, images: Tensor, draws: Tensor) -> Tensor:
        """Shift, flip, normalise and erase (B, C, S, S) in [0, 1]."""
        if self._settings.shift or self._settings.flip:
            images = self._moved(images, draws)
        images = self._pixels.normalise(images)
        if not self._settings.erase:
            return images
        return images.masked_fill(self._erased(draws), 0.0)

    def _crop_boxes(self, draws: Tensor, height: int, width: int) -> Tensor | None:
        if self._settings.crop == (1.0, 1.0):
            return None
        return random_boxes(draws[_CROP_BOX], self._settings.crop, _CROP_RATIO, height, width)

    def _moved(self, images: Tensor, draws: Tensor) -> Tensor:
        size, reach = self._pixels.image_size, self._settings.shift
        down = (draws[_DOWN, :, None] * (2 * reach + 1)).long() - reach
        across = (draws[_ACROSS, :, None] * (2 * reach + 1)).long() - reach
        place = torch.arange(size)
        flip = draws[_FLIP, :, None] < self._settings.flip
        columns = torch.where(flip, size - 1 - place, place) + across
        # Clamping repeats the edge pixels where the image was moved away from.
        rows = (place + down).clamp(0, size - 1)[:, None, :, None]
        columns = columns.clamp(0, size - 1)[:, None, None, :]
        image = torch.arange(len(images))[:, None, None, None]
        return images[image, torch.arange(images.shape[1])[:, None, None], rows, columns]

    def _erased(self, draws: Tensor) -> Tensor:
        size = self._pixels.image_size
        boxes = random_boxes(draws[_ERASE_BOX], _ERASE_AREA, _ERASE_RATIO, size, size)
        chosen = draws[_ERASE] < self._settings.erase
        return covered(boxes, size, size) & chosen[:, None, None, None]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, numpy's and torch's CPU generator start at `seed`, and afterwards are as before."""
    # torch.manual_seed would reseed the accelerators too, which nobody restores.
    generator = torch.default_generator
    before = random.getstate(), np.random.get_state(), generator.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        generator.set_state(before[2])


def _resampled(images: Tensor, boxes: Tensor) -> Tensor:
    # affine_grid would multiply matrices, whose rounding may change with the batch's size.
    height, width = images.shape[2:]
    top, left, down, across = boxes.float()[:, :, None].unbind(1)
    rows = ((torch.arange(height) + 0.5) / height * down + top) * (2 / height) - 1
    columns = ((torch.arange(width) + 0.5) / width * across + left) * (2 / width) - 1
    shape = (len(images), height, width)
    grid = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], -1)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def _to_file(image: Tensor) -> Image.Image:
    levels = (image * 255).round().byte().numpy()
    return Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))


def _rand_augment(policy: str, pixels: Pixels) -> Callable[[Image.Image], Image.Image] | None:
    if not policy:
        return None
    from timm.data.auto_augment import rand_augment_transform

    colours = pixels.mean if pixels.channels == 3 else pixels.mean * 3
    fill = tuple(min(255, max(0, round(255 * colour))) for colour in colours)
    settings = {"translate_const": int(pixels.image_size * 0.45), "img_mean": fill}
    try:
        transform = rand_augment_transform(policy, settings)
    except (AssertionError, ValueError, KeyError) as error:
        raise RecipeError(
            f'augmentation.rand_augment = "{policy}": timm cannot read it. '
            "Write it like rand-m9-mstd0.5-inc1."
        ) from error
    for operation in transform.ops:
        if operation.name.startswith("Posterize"):
            operation.level_fn = partial(_one_bit_or_more, operation.level_fn)
    return cast("Callable[[Image.Image], Image.Image]", transform)


def _one_bit_or_more(
    level_to_bits: Callable[[float, Any], tuple[int]], level: float, settings: Any
) -> tuple[int]:
    # timm's strongest level keeps no bit, which newer Pillows refuse.
    (bits,) = level_to_bits(level, settings)
    return (max(bits, 1),)
