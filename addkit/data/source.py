"""The base of data sets: facts, augmentation, and held-out splits by class or combination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Self

from addkit.data.augmentation import Augmenter
from addkit.data.images import Pixels
from addkit.data.settings import DEFAULT_INPUT, DataConfig
from addkit.diffusion.randomness import counted_seed
from addkit.errors import DataError
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import DataFacts
from addkit.recipe.tables import Augmentation

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}
"""Names as people write them, in lower case -> split."""


class Source(ABC):
    """A data set. Subclasses collect the facts and open splits; no image is read before that."""

    def __init__(self, facts: DataFacts) -> None:
        self.facts = facts
        self.pixels = Pixels.of(facts)
        # All changes off, until `augmented` is called.
        self._augmenter = Augmenter(Augmentation.model_validate({}), self.pixels)

    def augmented(self, augmentation: Augmentation) -> Self:
        """A copy whose `ImageSet.batch` applies this augmentation when it is given a seed.

        mixup and cutmix mix whole batches (`addkit.data.augmentation.mix`) and are not applied
        there. Raises `RecipeError` for a RandAugment string that timm refuses.
        """
        twin = copy(self)  # shallow: facts, listings and what was verified are shared
        twin._augmenter = Augmenter(augmentation, self.pixels)
        return twin

    def split(self, name: str) -> ImageSet:
        """Open `train`, `validation` or `test`. Raises `DataError` for missing or broken files."""
        if name not in self.facts.split_sizes:
            raise DataError(
                f'There is no split "{name}"; there are: {", ".join(self.facts.split_sizes)}. '
                "A validation split needs data.validation above 0, and a test split two images of "
                "some class."
            )
        return self._open(name, self._augmenter)

    @abstractmethod
    def _open(self, name: str, augmenter: Augmenter) -> ImageSet: ...


def facts_of(config: DataConfig, **facts: Any) -> DataFacts:
    """Facts of a data set: size and scale of the pixels by its settings, the rest as given."""
    # Only of a data set that is built by hand: a recipe's settings have the encoder's values.
    pixels = config.for_encoder(DEFAULT_INPUT).pixel_facts()
    return DataFacts(**pixels, **facts)


def held_out_count(images: int, share: float) -> int:
    """The number of a class's images that are held out: the share, rounded, and 1 at least.

    One image always stays; a share of 0 holds out none.
    """
    if share == 0 or images < 2:
        return 0
    return min(max(round(images * share), 1), images - 1)


def hold_out(
    labels: Sequence[int], names: Sequence[str], share: float, seed: int, purpose: str
) -> tuple[list[int], list[int]]:
    """Positions kept and held out, in their order; stratified by label."""
    classes: dict[int, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        classes[label].append(position)
    held: set[int] = set()
    for members in classes.values():
        # Ranks follow from (seed, purpose, name), not from positions, so that adding a file moves
        # at most one other file of its class to the other side.
        members.sort(key=lambda position: counted_seed(seed, f"{purpose}:{names[position]}"))
        held.update(members[: held_out_count(len(members), share)])
    return [p for p in range(len(labels)) if p not in held], sorted(held)


def hold_out_splits(
    labels: Sequence[int],
    names: Sequence[str],
    shares: Mapping[str, float],
    seed: int,
    train: Sequence[int] | None = None,
) -> dict[str, list[int]]:
    """Positions by split: each share in turn is held out of what is left of `train`.

    Args:
        labels: one for each item; each split is stratified by them.
        names: from which the ranks follow.
        shares: split -> share; no split for a share of 0.
        seed: of the ranks.
        train: positions to begin with; all by default.
    """
    splits = {"train": list(range(len(labels)) if train is None else train)}
    for purpose, share in shares.items():
        if share:
            pool = splits["train"]
            own_labels, own_names = [labels[p] for p in pool], [names[p] for p in pool]
            kept, held = hold_out(own_labels, own_names, share, seed, purpose)
            # Positions in the pool -> positions in the data.
            splits |= {"train": [pool[p] for p in kept], purpose: [pool[p] for p in held]}
    return splits


def hold_out_combinations(
    parts: Sequence[frozenset[str]], names: Sequence[str], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions kept and held out, in their order: variants of things that stay in train.

    Items are held out in the order of their ranks, which follow from (seed, name), if each of
    their parts (its base, its words) stays in another item that is kept, until they are the share
    of all, rounded, or no more can go.
    """
    wanted = round(len(parts) * share)
    remaining = Counter(part for item in parts for part in item)
    # The purpose is part of the rank and must not change: splits of trained runs follow from it.
    ranked = sorted(
        range(len(parts)), key=lambda position: counted_seed(seed, f"validation:{names[position]}")
    )
    held: set[int] = set()
    for position in ranked:
        if len(held) == wanted:
            break
        # Each part must stay in train in another item: no unseen word, only unseen combinations.
        if all(remaining[part] > 1 for part in parts[position]):
            held.add(position)
            remaining.subtract(parts[position])
    return [position for position in range(len(parts)) if position not in held], sorted(held)


def split_sizes(
    class_counts: Iterable[int], validation: float, tests: Iterable[int]
) -> Mapping[str, int]:
    """Images in train, test and (if any) validation, from each class's total and test count."""
    tests = list(tests)
    rest = [count - test for count, test in zip(class_counts, tests, strict=True)]
    held = sum(held_out_count(count, validation) for count in rest)
    sizes = {"train": sum(rest) - held, "test": sum(tests)}
    return {**sizes, "validation": held} if validation else sizes
