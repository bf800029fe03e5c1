"""The numbers that follow from a recipe and the size of its data. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from addkit.errors import RecipeError
from addkit.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Batches, steps and the peak learning rate."""

    global_batch: int
    """Images of one optimizer step."""
    per_process_batch: int
    """Images of one micro-batch."""
    accumulation: int
    """Micro-batches of each process in one optimizer step."""
    processes: int
    steps_per_epoch: int
    """Whole global batches; the rest of an epoch's images are left to another shuffle."""
    steps: int
    warmup_steps: int
    peak_lr: float
    unfreeze_step: int
    """Steps after which a frozen encoder is trained too; 0: never."""

    @property
    def micro_batches(self) -> int:
        """Micro-batches of one optimizer step, over all processes."""
        return self.processes * self.accumulation

    @classmethod
    def of(cls, recipe: Recipe, train_size: int, processes: int = 1) -> Plan:
        """Derive the plan. Raises `RecipeError` if the global batch does not divide evenly, or
        exceeds the data.
        """
        training, total = recipe.training, recipe.training.batch_size
        steps_per_epoch = train_size // total
        if steps_per_epoch == 0:
            raise RecipeError(
                f"{recipe.source}: [training] batch_size {total} is larger than the "
                f"{train_size} training images; set training.batch_size to at most {train_size}"
            )
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
        return cls(
            global_batch=total,
            per_process_batch=micro,
            accumulation=total // (micro * processes),
            processes=processes,
            steps_per_epoch=steps_per_epoch,
            steps=steps_per_epoch * training.epochs,
            warmup_steps=round(steps_per_epoch * training.warmup_epochs),
            peak_lr=training.peak_lr,
            unfreeze_step=steps_per_epoch * training.unfreeze_after,
        )
