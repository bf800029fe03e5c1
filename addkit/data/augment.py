"""Changes to training images, each decided by (seed, index) alone."""

from __future__ import annotations

import math
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
from addkit.data.images import Part
from addkit.data.pixels import Pixels, to_levels
from addkit.diffusion.randomness import counted_seed
from addkit.errors import RecipeError
from addkit.recipe.model import Augmentation

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

    @property
    def crops(self) -> bool:
        """Whether there are random resized crops."""
        return self._settings.crop != (1.0, 1.0)

    def part(self, draws: Tensor, width: int, height: int) -> Part:
        """Which part of one image file to cut out, before it is resampled to S x S.

        As `random_boxes`, on whole pixels; a part of at least 2 S x 2 S (4 S, 8 S) lies on
        multiples of 2 (4, 8) pixels, so that a JPEG can be decoded at that scale. `draws` (12,).
        """
        numbers = draws[_CROP_BOX].tolist()
        down, across = _sides(numbers, self._settings.crop, height, width)
        reach = min(down, across) / self._pixels.image_size
        scale = next(scale for scale in (8, 4, 2, 1) if reach >= scale or scale == 1)
        columns, rows = width // scale, height // scale
        across = min(max(round(across / scale), 1), columns)
        down = min(max(round(down / scale), 1), rows)
        left = round(numbers[3] * (columns - across))
        return Part(left, round(numbers[2] * (rows - down)), across, down, scale)

    def cut_batch(self, images: Tensor, draws: Tensor) -> Tensor:
        """Random resized crops, (B, C, S, S) -> the same shape."""
        if not self.crops:
            return images
        size = images.shape[2:]
        boxes = random_boxes(draws[_CROP_BOX], self._settings.crop, _CROP_RATIO, *size)
        return _resampled(images, boxes)

    def recolour_levels(self, levels: Tensor, seed: int, index: int) -> Tensor:
        """RandAugment, as timm has it, of one image (C, S, S), uint8; if the recipe asks for it."""
        if self._recolour is None:
            return levels
        image = _to_file(levels)
        with seeded(counted_seed(seed, "rand-augment", index)):
            return to_levels(self._recolour(image.convert("RGB")).convert(image.mode))

    def recolour_batch(self, images: Tensor, seed: int, indices: Sequence[int]) -> Tensor:
        """The same for (B, C, S, S) in [0, 1], through 8 bits."""
        if self._recolour is None:
            return images
        pairs = zip((images * 255).round().byte(), indices, strict=True)
        changed = [self.recolour_levels(levels, seed, index) for levels, index in pairs]
        return torch.stack(changed).float() / 255

    def moved(self, images: Tensor, draws: Tensor) -> Tensor:
        """Shift and flip (B, C, S, S) of any type."""
        if self._settings.shift:
            images = self._shifted(images, draws)
        flip = draws[_FLIP] < self._settings.flip
        if not flip.any():
            return images
        mirrored = images.flip(3)
        return mirrored if flip.all() else torch.where(flip[:, None, None, None], mirrored, images)

    def erased(self, images: Tensor, draws: Tensor) -> Tensor:
        """Normalised (B, C, S, S) whose chosen rectangles became the mean colour, in place."""
        if self._settings.erase:
            images.masked_fill_(self._erased(draws), 0.0)
        return images

    def _shifted(self, images: Tensor, draws: Tensor) -> Tensor:
        size, reach = self._pixels.image_size, self._settings.shift
        down = (draws[_DOWN, :, None] * (2 * reach + 1)).long() - reach
        across = (draws[_ACROSS, :, None] * (2 * reach + 1)).long() - reach
        place = torch.arange(size)
        # Clamping repeats the edge pixels where the image was moved away from.
        rows = (place + down).clamp(0, size - 1)[:, None, :, None]
        columns = (place + across).clamp(0, size - 1)[:, None, None, :]
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


def _sides(
    draws: Sequence[float], area: tuple[float, float], height: int, width: int
) -> tuple[float, float]:
    """Height and width of a crop, by the formula of `random_boxes`.

    For one image Python's numbers are thirty times as fast as torch's.
    """
    share = area[0] + draws[0] * (area[1] - area[0])
    least, most = _CROP_RATIO
    narrow = math.log(min(max(share * width / height, least), most))
    wide = math.log(min(max(width / (share * height), least), most))
    aspect = math.exp(narrow + draws[1] * (wide - narrow))
    across = math.sqrt(share * aspect * width * height)
    across *= min(width / across, height * aspect / across, 1.0)
    return across / aspect, across


def _to_file(levels: Tensor) -> Image.Image:
    values = levels.numpy()
    return Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))


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
