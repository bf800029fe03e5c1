"""Reading batches in an order that follows from (seed, epoch), whoever reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from addkit.data.counting import uniforms
from addkit.diffusion.randomness import counted_seed
from addkit.errors import DataError
from addkit.plugin.protocols import Batch, ImageSet

__all__ = ["epoch_order", "load"]


def epoch_order(seed: int, epoch: int, size: int) -> Tensor:
    """A permutation of range(size), int64, that follows from (seed, epoch) alone."""
    keys = uniforms(counted_seed(seed, "order", epoch), torch.arange(size), 1)
    return keys[:, 0].argsort(stable=True)


def load(
    images: ImageSet, index_batches: Iterable[Sequence[int]], seed: int | None, workers: int
) -> Iterator[Batch]:
    """The batches of these indices, in order, read by `workers` processes (0: by this one).

    The seed augments and is one epoch's own: give each epoch another. Batches are the same to
    the bit for any number of workers, and no global random state changes. Raises the `DataError`
    of a broken file.
    """
    if workers == 0:
        yield from (images.batch(indices, seed) for indices in index_batches)
        return
    batches: Iterable[Batch | DataError] = DataLoader(
        _Batches(images, seed),
        sampler=index_batches,
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        # Its own, since a loader otherwise draws its workers' seed from the global generator.
        generator=torch.Generator(),
    )
    for batch in batches:
        if isinstance(batch, DataError):
            raise batch
        yield batch


@dataclass(frozen=True)
class _Batches(Dataset[Any]):
    """A data set whose items are whole batches."""

    images: ImageSet
    seed: int | None

    def __getitem__(self, indices: Sequence[int]) -> Batch | DataError:
        try:
            return self.images.batch(indices, self.seed)
        except DataError as error:
            # As a value: raised, it would reach the user wrapped in a worker's traceback.
            return DataError(str(error))


def _unchanged(batch: Any) -> Any:
    return batch
