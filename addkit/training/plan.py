"""The numbers that follow from a recipe and the size of its data. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from addkit.errors import RecipeError
from addkit.recipe import Recipe

FEWEST_STEPS = 4
"""Of an epoch; a batch that leaves fewer is lowered."""
LEAST_EPOCHS, MOST_EPOCHS = 10, 200
"""Of `epochs = "auto"`."""
EPOCHS_OF_ONE = 2000
"""Epochs that a single image would have without `MOST_EPOCHS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Batches, epochs, steps and the peak learning rate."""

    global_batch: int
    """Images of one optimizer step."""
    per_process_batch: int
    """Images of one micro-batch."""
    accumulation: int
    """Micro-batches of each process in one optimizer step."""
    processes: int
    epochs: int
    steps_per_epoch: int
    """Whole global batches; the rest of an epoch's images are left to another shuffle."""
    steps: int
    warmup_steps: int
    evaluate_every: int
    """Epochs between evaluations on the way."""
    peak_lr: float
    unfreeze_step: int = 0
    """Steps after which a frozen encoder is trained too; 0: never."""

    @property
    def micro_batches(self) -> int:
        """Micro-batches of one optimizer step, over all processes."""
        return self.processes * self.accumulation

    @classmethod
    def of(cls, recipe: Recipe, train_size: int, processes: int = 1) -> Plan:
        """Derive the plan. Raises `RecipeError` if the global batch does not divide evenly, or if
        there are fewer images than processes.
        """
        training, asked = recipe.training, recipe.training.batch_size
        if asked == "auto":
            raise RecipeError(
                f'{recipe.source}: [training] batch_size "auto" becomes a number when a run '
                "begins, and this one has none; set training.batch_size"
            )
        total = asked
        if train_size < processes:
            raise RecipeError(
                f"{recipe.source}: [training] {train_size} training images are too few for "
                f"{processes} {'process' if processes == 1 else 'processes'}"
            )
        if train_size // total < FEWEST_STEPS:
            # The largest power of two for each process that leaves so many steps.
            most = max(train_size // (FEWEST_STEPS * processes), 1)
            total = min(total, processes * 2 ** int(math.log2(most)))
        steps_per_epoch = train_size // total
        share = total // processes
        # The recipe's micro-batch may be larger than the share: more processes need not change it.
        micro = min(recipe.distributed.per_process_batch or share, share)
        if micro == 0 or total % (micro * processes):
            raise RecipeError(
                f"{recipe.source}: [training] batch_size {total} is no multiple of "
                f"{processes} {'process' if processes == 1 else 'processes'} x "
                f"{max(micro, 1)} images; change training.batch_size, "
                "distributed.per_process_batch or --processes"
            )
        evaluate_every, warmup_epochs = training.evaluate_every, training.warmup_epochs
        if training.epochs != "auto":
            epochs = training.epochs
        else:
            # Images seen in all grow as the root of their number.
            epochs = round(EPOCHS_OF_ONE / math.sqrt(train_size))
            epochs = min(max(epochs, LEAST_EPOCHS), MOST_EPOCHS)
            evaluate_every = min(evaluate_every, epochs // LEAST_EPOCHS)
            warmup_epochs = min(warmup_epochs, epochs / 10)
        return cls(
            global_batch=total,
            per_process_batch=micro,
            accumulation=total // (micro * processes),
            processes=processes,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            steps=steps_per_epoch * epochs,
            warmup_steps=round(steps_per_epoch * warmup_epochs),
            evaluate_every=evaluate_every,
            peak_lr=training.peak_lr(total),
            unfreeze_step=steps_per_epoch * training.unfreeze_after,
        )
