"""The tables of a recipe that belong to no component. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from addkit.plugin.config import (
    Chains,
    Chance,
    Config,
    Count,
    CountOrZero,
    Factor,
    Guidance,
    Share,
    Steps,
    Weight,
)

Rate = Annotated[float, Field(gt=0, le=1e6)]
Schedule = Literal["cosine", "constant", "step", "poly", "tanh", "wsd", "rsqrt"]
Workers = Annotated[int, Field(ge=1, le=1024)]


class Training(Config):
    """How the weights are fitted: AdamW, warm-up, cosine to `min_lr`, if not named otherwise."""

    epochs: Annotated[int, Field(ge=1, le=10**6)] | Literal["auto"] = Field(
        30,
        description="Passes over the training images. auto: 2000 / sqrt(images), between 10 and "
        "200, with a warm-up of at most a tenth of the steps and 10 evaluations or more.",
    )
    batch_size: Count | Literal["auto"] = Field(
        64,
        description="Global: over all processes and accumulation. Lowered to a power of two where "
        "an epoch would have fewer than 4 steps. auto: what memory allows when the run begins, "
        "from 8 to 1024, or 64 on a CPU; the learning rate follows base_lr.",
    )
    optimizer: str = Field("adamw", description="By its name in timm, such as sgd, lion or lamb.")
    lr_schedule: Schedule = Field(
        "cosine",
        description="After the warm-up. cosine, tanh, poly: down to min_lr (poly in a straight "
        "line); step: to a tenth after each 30 % of the steps; wsd, rsqrt: constant, or falling "
        "as 1 / sqrt, then down to min_lr in the last 20 %.",
    )
    base_lr: Rate | None = Field(
        None, description="Learning rate for a batch of 256: lr = base_lr * batch_size / 256."
    )
    lr: Rate | None = Field(None, description="The peak learning rate itself.")
    min_lr: Weight = Field(0.0, description="Learning rate of the last step.")
    warmup_epochs: Weight = Field(1.0, description="Epochs of a rising learning rate.")
    betas: tuple[Chance, Chance] = Field(
        (0.9, 0.95),
        description="Decay of AdamW's two moments; of other optimizers that have two, and the "
        "first is the momentum of those that have one.",
    )
    weight_decay: Weight = Field(0.05, description="On matrices; not on biases, norms, tokens.")
    clip_norm: Weight = Field(3.0, description="Global gradient norm; 0 is off.")
    reuse: Annotated[int, Field(ge=1, le=4096)] = Field(
        4, description="Timesteps for each image and step (section 3.3's K)."
    )
    stratified: bool = Field(True, description="t_j = (u + j / reuse) mod 1 within an image.")
    pure_noise: Share = Field(0.0, description="Share of rows at exactly t = T.")
    token_times: tuple[Weight, Weight, Weight] = Field(
        (1.0, 0.0, 0.0),
        description="Shares of the other rows whose tokens have one t together, a t each, or are "
        "each clean or at T.",
    )
    sum_tokens: bool = Field(
        False, description="Sum the loss over an answer's tokens, as L_text is printed; else mean."
    )
    rollout: Share = Field(
        0.0, description="Share of rows that hide the network's own earlier answer."
    )
    condition_drop: Chance = Field(0.1, description="Chance of the null condition.")
    ema: Chance = Field(0.9999, description="Decay of averaged weights; 0 keeps none.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="The trunk's; noise, softmax and losses stay in float32."
    )
    evaluate_every: Count = Field(1, description="Epochs between accuracies on the way.")
    unfreeze_after: CountOrZero = Field(
        0,
        description="Epochs after which a frozen encoder is trained too, at encoder.lr_scale times "
        "the learning rate; 0: never.",
    )
    patience: CountOrZero = Field(
        0,
        description="Stop after so many evaluations in a row without a better score on the "
        "validation split, after unfreeze_after; 0 never stops. The learning rate follows the "
        "whole plan all the same.",
    )

    @model_validator(mode="after")
    def one_learning_rate(self) -> Training:
        """Exactly one of lr and base_lr."""
        # Neither has a default: a rate that fits every model does not exist, and a default of one
        # would have to be unset by whoever gives the other.
        if (self.lr is None) == (self.base_lr is None):
            raise ValueError("give exactly one of lr and base_lr")
        return self

    @model_validator(mode="after")
    def some_rows(self) -> Training:
        """Rows must be of some kind."""
        if sum(self.token_times) < 1e-6:
            raise ValueError("token_times are all 0; give at least one kind of rows a share")
        return self

    def peak_lr(self, global_batch: int) -> float:
        """lr, or base_lr * global_batch / 256 (the linear rule of Goyal et al. 2017)."""
        if self.lr is not None:
            return self.lr
        return (self.base_lr or 0.0) * global_batch / 256


class Features(Config):
    """A frozen encoder's output, computed once and kept on the disk."""

    cache: bool | Literal["auto"] = Field(
        "auto",
        description="auto: where each epoch has the same images. true: always; without views the "
        "epochs of a frozen encoder then have no augmentation.",
    )
    views: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="Fixed augmented views of each training image, one drawn an epoch; 0: none."
    )
    folder: Path = Field(
        Path("cache/features"), description="Where they are; any of its folders may be deleted."
    )
    dtype: Literal["float32", "float16"] = Field("float32", description="Of the numbers there.")


class Augmentation(Config):
    """Changes to training images. All off by default; each counted by (seed, epoch, image)."""

    flip: Share = Field(
        0.0,
        description="Chance of a left-right flip, such as 0.5 for photographs; 0 where a class "
        "looks like a letter or a digit, or left and right differ.",
    )
    shift: Annotated[int, Field(ge=0, le=4096)] = Field(
        0, description="Largest shift in pixels, edges padded."
    )
    crop: tuple[Share, Share] = Field(
        (1.0, 1.0),
        description="Area range of a random resized crop, such as [0.08, 1.0]; [1, 1] is off.",
    )
    rand_augment: str = Field(
        "", description='timm\'s RandAugment string, such as rand-m9-mstd0.5-inc1; "" is off.'
    )
    erase: Share = Field(0.0, description="Chance of a random erased rectangle.")
    mixup: Weight = Field(0.0, description="Beta parameter of mixup; 0 is off.")
    cutmix: Weight = Field(0.0, description="Beta parameter of cutmix; 0 is off.")

    @model_validator(mode="after")
    def crop_is_a_range(self) -> Augmentation:
        """Shares of the area, the smaller first."""
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"crop is {list(self.crop)}; give [low, high], 0 < low <= high <= 1")
        return self

    @property
    def active(self) -> tuple[str, ...]:
        """The keys that are not off."""
        off = Augmentation.model_validate({})
        keys = type(self).model_fields
        return tuple(key for key in keys if getattr(self, key) != getattr(off, key))

    @property
    def mixes(self) -> tuple[str, ...]:
        """The active keys that mix images with each other."""
        return tuple(key for key in self.active if key in ("mixup", "cutmix"))


class Sampling(Config):
    """Defaults for making answers; options of the command line replace them."""

    steps: Steps | Literal["auto"] = Field(
        20,
        description="Steps of a chain: t = 1, (n-1)/n, ..., 1/n. auto: what is best on the "
        "validation split after training.",
    )
    guidance: Guidance = Field(1.0, description="w: uncond + w (cond - uncond); 1 is off.")
    chains: Chains = Field(1, description="Sampling trajectories for each image.")
    early_exit: CountOrZero = Field(
        0, description="Stop once the answer is unchanged for this many steps; 0 disables."
    )
    evidence: bool = Field(
        False, description="Scores: read the soft evidence that the data set has on its labels."
    )
    batch_size: Count = Field(256, description="Images at a time in evaluation.")


class Checkpoints(Config):
    """When a training is saved, and what stays on the disk."""

    every: Count = Field(1, description="Epochs between checkpoints.")
    minutes: Weight = Field(
        0.0, description="Minutes between checkpoints within an epoch; 0 disables."
    )
    keep_last: Count = Field(2, description="Newest checkpoints that stay.")
    keep_every: CountOrZero = Field(
        0, description="Epochs between those that stay for ever; 0: none."
    )
    best: bool = Field(True, description="Keep the one that scored best on the way.")
    use: Literal["last", "best"] = Field(
        "last",
        description="Weights that are scored at the end, and that answer: the last ones, or those "
        "with the best score on the validation split.",
    )
    asynchronous: bool = Field(
        True, description="Training continues while a copy of it is being written."
    )

    @model_validator(mode="after")
    def best_is_kept(self) -> Checkpoints:
        """Weights that are used must be kept."""
        if self.use == "best" and not self.best:
            raise ValueError('use = "best" needs best = true')
        return self


class Distributed(Config):
    """How the global batch is spread. The micro-batch apart, no key changes what is computed."""

    processes_per_node: Workers | Literal["auto"] = Field(
        "auto", description="Training processes on this machine; auto: one for each GPU, else 1."
    )
    per_process_batch: Count | None = Field(
        None,
        description="The micro-batch: images at a time on each process; the rest is accumulated. "
        "Batch norm, dropout and noise go by micro-batches, whoever computes them.",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp", description="Whole weights on each process, or a share of them (FSDP2)."
    )
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = Field(
        0, description="Loader processes for each training process; auto: as the cores allow."
    )
    prefetch: Workers = Field(2, description="Batches that each loader process reads ahead.")
    compile: bool = Field(False, description="torch.compile of encoder and denoiser.")
    channels_last: bool = Field(False, description="Images and convolutions as NHWC in memory.")
    deterministic: bool = Field(
        False, description="Only kernels that give the same bits each time, at some cost."
    )
    bucket_mb: Factor = Field(25.0, description="Gradients that DDP sends at a time, in MiB.")
    recompute_activations: bool = Field(
        False,
        description="Keep what enters each block and compute the rest again on the way back: "
        "less memory, about a third more time (Chen et al. 2016).",
    )


Head = Literal[
    "linear", "mlp", "autoregressive", "masked", "masked-weighted", "one-shot", "asymmetric"
]


class Control(Config):
    """Models trained for comparison: same encoder, data order, seed and budget."""

    heads: tuple[Head, ...] = Field(
        ("linear",),
        max_length=6,
        description="Classifiers for one label: linear, mlp. For captions, attributes and tags: "
        "autoregressive, masked, masked-weighted (1/t), one-shot. For tags also asymmetric: "
        "one-shot under the asymmetric loss.",
    )


class Arm(Config):
    """A changed experiment that `addkit ablate` compares with the recipe itself."""

    name: str = Field(min_length=1)
    changes: tuple[str, ...] = Field(
        (), description='As after --set: ["loss.name=mse", "sampling.steps=5"].'
    )


class Ablation(Config):
    """The comparison of `addkit ablate`; a plain training does not read it."""

    seeds: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="Trainings of each arm: seed, seed + 1, ..."
    )
    controls: tuple[Head, ...] = Field(
        (), max_length=6, description="Matched models, compared as arms."
    )
    arms: tuple[Arm, ...] = Field(
        (), max_length=1000, description="Changes to the base, each compared with it."
    )

    @model_validator(mode="after")
    def names_differ(self) -> Ablation:
        """Arms have different names, which tables and folders use."""
        names = [arm.name for arm in self.arms]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f'two arms are named "{twice[0]}"')
        return self


SHARED_TABLES: dict[str, type[Config]] = {
    "training": Training,
    "features": Features,
    "augmentation": Augmentation,
    "sampling": Sampling,
    "checkpoints": Checkpoints,
    "distributed": Distributed,
    "control": Control,
    "ablation": Ablation,
}
"""Tables that belong to no component."""
