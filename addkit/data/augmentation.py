"""Augmentation of training images, each decided by (seed, index) alone; mixup and cutmix."""

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

from addkit.data.images import Part, Pixels, as_picture, to_levels
from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.errors import RecipeError
from addkit.recipe.tables import Augmentation

# Rows of an image's uniforms. Each decision has its own, so switching one change on or off leaves
# the others as they were.
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
        self.crops = augmentation.crop != (1.0, 1.0)
        """True if there are random resized crops."""
        self._recolour = _rand_augment(augmentation.rand_augment, pixels)

    def draws(self, seed: int, indices: Sequence[int]) -> Tensor:
        """Uniforms (12, B) that decide everything but RandAugment."""
        return uniforms(seed, torch.tensor(indices), _DRAWS).T.contiguous()

    def part(self, draws: Tensor, width: int, height: int) -> Part:
        """The part of one image file that is cut out before it is resampled to S x S.

        As `random_boxes`, on whole pixels; a part of at least 2 S x 2 S (4 S, 8 S) has its edges at
        multiples of 2 (4, 8) pixels, so that a JPEG can be decoded at that scale. `draws` (12,).
        """
        numbers = draws[_CROP_BOX].tolist()
        # The formula of `random_boxes`: for one image Python's floats are thirty times as fast.
        low, high = self._settings.crop
        share = low + numbers[0] * (high - low)
        least, most = _CROP_RATIO
        narrow = math.log(min(max(share * width / height, least), most))
        wide = math.log(min(max(width / (share * height), least), most))
        aspect = math.exp(narrow + numbers[1] * (wide - narrow))
        across = math.sqrt(share * aspect * width * height)
        across *= min(width / across, height * aspect / across, 1.0)
        down = across / aspect

        reach = min(down, across) / self._pixels.image_size
        # JPEG decoders shrink by powers of two; never below the size of the input.
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
        height, width = images.shape[2:]
        boxes = random_boxes(draws[_CROP_BOX], self._settings.crop, _CROP_RATIO, height, width)
        top, left, down, across = boxes.float()[:, :, None].unbind(1)  # each (B, 1)
        # Not affine_grid: it multiplies matrices, whose rounding may change with the batch's size.
        rows = ((torch.arange(height) + 0.5) / height * down + top) * (2 / height) - 1  # (B, S)
        columns = ((torch.arange(width) + 0.5) / width * across + left) * (2 / width) - 1
        shape = (len(images), height, width)
        grid = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], -1)
        return grid_sample(images, grid, padding_mode="border", align_corners=False)

    def recolour_levels(self, levels: Tensor, seed: int, index: int) -> Tensor:
        """timm's RandAugment of one image (C, S, S), uint8; unchanged without it."""
        if self._recolour is None:
            return levels
        image = as_picture(levels)
        with seeded(counted_seed(seed, "rand-augment", index)):
            return to_levels(self._recolour(image.convert("RGB")).convert(image.mode))

    def recolour_batch(self, images: Tensor, seed: int, indices: Sequence[int]) -> Tensor:
        """The same for (B, C, S, S) in [0, 1], through 8 bits."""
        if self._recolour is None:
            return images
        pairs = zip((images * 255).round().byte(), indices, strict=True)
        changed = [self.recolour_levels(levels, seed, index) for levels, index in pairs]
        # 8 bits as in a file, so that images in memory and in files are changed alike.
        return torch.stack(changed).float() / 255

    def moved(self, images: Tensor, draws: Tensor) -> Tensor:
        """Shift and flip (B, C, S, S) of any type."""
        if reach := self._settings.shift:
            size = self._pixels.image_size
            # (B, 1) offsets from -reach to reach; clamping repeats the edge pixels.
            down = (draws[_DOWN, :, None] * (2 * reach + 1)).long() - reach
            across = (draws[_ACROSS, :, None] * (2 * reach + 1)).long() - reach
            positions = torch.arange(size)
            rows = (positions + down).clamp(0, size - 1)[:, None, :, None]
            columns = (positions + across).clamp(0, size - 1)[:, None, None, :]
            image = torch.arange(len(images))[:, None, None, None]
            channel = torch.arange(images.shape[1])[:, None, None]
            images = images[image, channel, rows, columns]
        flip = draws[_FLIP] < self._settings.flip  # (B,)
        if not flip.any():
            return images
        mirrored = images.flip(3)
        return mirrored if flip.all() else torch.where(flip[:, None, None, None], mirrored, images)

    def erased(self, images: Tensor, draws: Tensor) -> Tensor:
        """Normalised (B, C, S, S) whose chosen rectangles became the mean colour, in place."""
        if self._settings.erase:
            size = self._pixels.image_size
            boxes = random_boxes(draws[_ERASE_BOX], _ERASE_AREA, _ERASE_RATIO, size, size)
            chosen = draws[_ERASE] < self._settings.erase
            images.masked_fill_(covered(boxes, size, size) & chosen[:, None, None, None], 0.0)
        return images


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's CPU generators; restore their states afterwards."""
    # Not torch.manual_seed: it reseeds the accelerators too, whose state is not restored here.
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


def _rand_augment(policy: str, pixels: Pixels) -> Callable[[Image.Image], Image.Image] | None:
    if not policy:
        return None
    from timm.data.auto_augment import rand_augment_transform

    colour = pixels.mean_colour
    fill = colour if pixels.channels == 3 else colour * 3
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


# At module level: a spawned loader process has to unpickle it with the transform.
def _one_bit_or_more(
    level_to_bits: Callable[[float, Any], tuple[int]], level: float, settings: Any
) -> tuple[int]:
    # timm's strongest level keeps no bit, which newer Pillows refuse.
    (bits,) = level_to_bits(level, settings)
    return (max(bits, 1),)


def random_boxes(
    draws: Tensor, area: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> Tensor:
    """Boxes (B, 4) inside height x width, in pixels: top, left, height, width.

    `draws` (4, B) are uniforms. The share of the area is uniform in `area`; width / height is
    log-uniform in the part of `ratio` at which that area fits; where none does, the box shrinks.
    """
    share = area[0] + draws[0] * (area[1] - area[0])  # (B,), as all below
    narrow = (share * width / height).clamp(*ratio).log()
    wide = (width / (share * height)).clamp(*ratio).log()
    aspect = (narrow + draws[1] * (wide - narrow)).exp()
    across = (share * aspect * width * height).sqrt()
    shrink = torch.minimum(width / across, height * aspect / across).clamp(max=1.0)
    across = _whole_64ths(across * shrink).clamp(1, width)
    down = _whole_64ths(across / aspect).clamp(1, height)
    top = _whole_64ths(draws[2] * (height - down))
    left = _whole_64ths(draws[3] * (width - across))
    return torch.stack([top, left, down, across], dim=1)


def _whole_64ths(lengths: Tensor) -> Tensor:
    # To 1/64 pixel: exp may differ in its last bit with the batch's size, an image may not.
    return (lengths * 64).round() / 64


def covered(boxes: Tensor, height: int, width: int) -> Tensor:
    """True for pixels with their centre in the box of their image, (B, 4) -> (B, 1, H, W)."""
    top, left, down, across = boxes[:, :, None].unbind(1)  # each (B, 1)
    rows = torch.arange(height, device=boxes.device) + 0.5
    columns = torch.arange(width, device=boxes.device) + 0.5
    in_rows = (rows >= top) & (rows < top + down)  # (B, H)
    in_columns = (columns >= left) & (columns < left + across)  # (B, W)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def mix(
    images: Tensor, copies: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mixup and cutmix of images (B, C, H, W) and of their labels (B, R, N), which stay one-hot.

    An image keeps the share lam of itself: mixup adds (lam ~ Beta(mixup, mixup)), cutmix pastes a
    box (lam ~ Beta(cutmix, cutmix), then corrected to the box's pixels); with both, a coin
    decides for each image. Each reuse copy takes the image's own label with probability lam,
    else its partner's, so labels are right in proportion. With both at 0 nothing is mixed or
    drawn. Everything random comes from the generator.
    """
    if not augmentation.mixup and not augmentation.cutmix:
        return images, copies
    partner = torch.randperm(len(images), generator=generator, device=generator.device)
    partner = partner.to(images.device)
    # How much of itself each pixel keeps, (B, 1, 1, 1) or (B, 1, H, W). The order of the draws
    # is part of the result: blends, pastes, coin.
    if not augmentation.cutmix:
        weights = _betas(augmentation.mixup, images, generator)[:, None, None, None]
    elif not augmentation.mixup:
        weights = _pastes(augmentation.cutmix, images, generator)
    else:
        blends = _betas(augmentation.mixup, images, generator)[:, None, None, None]
        pastes = _pastes(augmentation.cutmix, images, generator)
        coin = _uniform((len(images), 1, 1, 1), images, generator)
        weights = torch.where(coin < 0.5, blends, pastes)
    mixed = weights * images + (1 - weights) * images[partner]
    own = _uniform(copies.shape[:2], images, generator) < weights.mean((1, 2, 3))[:, None]  # (B, R)
    return mixed.to(images.dtype), torch.where(own[..., None], copies, copies[partner])


def _pastes(beta: float, images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1, H, W): 0 in a random box, 1 elsewhere."""
    height, width = images.shape[2:]
    # (2,)
    extent = torch.tensor([height, width], device=images.device)
    sides = (1 - _betas(beta, images, generator)).sqrt()[:, None] * extent  # (B, 2)
    corners = _uniform((len(images), 2), images, generator) * extent - sides / 2
    # The box may stick out, as in the paper's code; only pixels that it covers count.
    return 1 - covered(torch.cat([corners, sides], 1), height, width).float()


def _betas(beta: float, images: Tensor, generator: torch.Generator) -> Tensor:
    """(B,) from Beta(beta, beta)."""
    # numpy's, seeded from the generator, since torch's Beta reads the global generator.
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    values = np.random.default_rng(int(seed)).beta(beta, beta, len(images))
    return torch.from_numpy(values).to(images.device, torch.float32)


def _uniform(shape: tuple[int, ...], images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(images.device)
