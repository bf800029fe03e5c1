"""The tables of a recipe that belong to no component. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from addkit.plugin.config import Config

Share = Annotated[float, Field(ge=0)]


class Training(Config):
    """How the weights are fitted: AdamW, warm-up, cosine to `min_lr`."""

    epochs: int = Field(30, ge=1, description="Passes over the training images.")
    batch_size: int = Field(64, ge=1, description="Global: over all processes and accumulation.")
    base_lr: float | None = Field(
        None, gt=0, description="Learning rate for a batch of 256: lr = base_lr * batch_size / 256."
    )
    lr: float | None = Field(None, gt=0, description="The peak learning rate itself.")
    min_lr: float = Field(0.0, ge=0, description="Learning rate of the last step.")
    warmup_epochs: float = Field(1.0, ge=0, description="Epochs of a rising learning rate.")
    betas: tuple[float, float] = Field((0.9, 0.95), description="Decay of AdamW's two moments.")
    weight_decay: float = Field(
        0.05, ge=0, description="On matrices; not on biases, norms, tokens."
    )
    clip_norm: float = Field(3.0, ge=0, description="Global gradient norm; 0 is off.")
    reuse: int = Field(4, ge=1, description="Timesteps for each image and step (section 3.3's K).")
    stratified: bool = Field(True, description="t_j = (u + j / reuse) mod 1 within an image.")
    pure_noise: float = Field(0.0, ge=0, le=1, description="Share of rows at exactly t = T.")
    token_times: tuple[Share, Share, Share] = Field(
        (1.0, 0.0, 0.0),
        description="Shares of the other rows whose tokens have one t together, a t each, or are "
        "each clean or at T.",
    )
    sum_tokens: bool = Field(
        False, description="Sum the loss over an answer's tokens, as L_text is printed; else mean."
    )
    rollout: float = Field(
        0.0, ge=0, le=1, description="Share of rows that hide the network's own earlier answer."
    )
    condition_drop: float = Field(0.1, ge=0, lt=1, description="Chance of the null condition.")
    ema: float = Field(0.9999, ge=0, lt=1, description="Decay of averaged weights; 0 keeps none.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="The trunk's; noise, softmax and losses stay in float32."
    )
    evaluate_every: int = Field(1, ge=1, description="Epochs between accuracies on the way.")

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
        if not sum(self.token_times):
            raise ValueError("token_times are all 0; give at least one kind of rows a share")
        return self

    @property
    def peak_lr(self) -> float:
        """lr, or base_lr * batch_size / 256 (the linear rule of Goyal et al. 2017)."""
        if self.lr is not None:
            return self.lr
        return (self.base_lr or 0.0) * self.batch_size / 256


class Augmentation(Config):
    """Changes to training images. All off by default; each counted by (seed, epoch, image)."""

    flip: float = Field(0.0, ge=0, le=1, description="Chance of a left-right flip.")
    shift: int = Field(0, ge=0, description="Largest shift in pixels, edges padded.")
    crop: tuple[float, float] = Field(
        (1.0, 1.0),
        description="Area range of a random resized crop, such as [0.08, 1.0]; [1, 1] is off.",
    )
    rand_augment: str = Field(
        "", description='timm\'s RandAugment string, such as rand-m9-mstd0.5-inc1; "" is off.'
    )
    erase: float = Field(0.0, ge=0, le=1, description="Chance of a random erased rectangle.")
    mixup: float = Field(0.0, ge=0, description="Beta parameter of mixup; 0 is off.")
    cutmix: float = Field(0.0, ge=0, description="Beta parameter of cutmix; 0 is off.")

    @model_validator(mode="after")
    def crop_is_a_range(self) -> Augmentation:
        """Shares of the area, the smaller first."""
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"crop is {list(self.crop)}; give [low, high], 0 < low <= high <= 1")
        return self


class Sampling(Config):
    """Defaults for making answers; options of the command line replace them."""

    steps: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        20,
        description="Steps of a chain: t = 1, (n-1)/n, ..., 1/n. auto: what is best on the "
        "validation split after training.",
    )
    guidance: float = Field(1.0, ge=0, description="w: uncond + w (cond - uncond); 1 is off.")
    chains: int = Field(1, ge=1, description="Sampling trajectories for each image.")
    early_exit: int = Field(
        0, ge=0, description="Stop once the answer is unchanged for this many steps; 0 disables."
    )
    batch_size: int = Field(256, ge=1, description="Images at a time in evaluation.")


class Checkpoints(Config):
    """When a training is saved, and what stays on the disk."""

    every: int = Field(1, ge=1, description="Epochs between checkpoints.")
    minutes: float = Field(
        0.0, ge=0, description="Minutes between checkpoints within an epoch; 0 disables."
    )
    keep_last: int = Field(2, ge=1, description="Newest checkpoints that stay.")
    keep_every: int = Field(
        0, ge=0, description="Epochs between those that stay for ever; 0: none."
    )
    best: bool = Field(True, description="Keep the one that scored best on the way.")
    asynchronous: bool = Field(
        True, description="Training continues while a copy of it is being written."
    )


class Distributed(Config):
    """How the global batch is spread. The micro-batch apart, no key changes what is computed."""

    processes_per_node: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Training processes on this machine; auto: one for each GPU, else 1."
    )
    per_process_batch: int | None = Field(
        None,
        ge=1,
        description="The micro-batch: images at a time on each process; the rest is accumulated. "
        "Batch norm, dropout and noise go by micro-batches, whoever computes them.",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp", description="Whole weights on each process, or a share of them (FSDP2)."
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        0, description="Loader processes for each training process; auto: as the cores allow."
    )
    prefetch: int = Field(2, ge=1, description="Batches that each loader process reads ahead.")
    compile: bool = Field(False, description="torch.compile of encoder and denoiser.")
    channels_last: bool = Field(False, description="Images and convolutions as NHWC in memory.")
    deterministic: bool = Field(
        False, description="Only kernels that give the same bits each time, at some cost."
    )
    bucket_mb: float = Field(25.0, gt=0, description="Gradients that DDP sends at a time, in MiB.")
    recompute_activations: bool = Field(
        False,
        description="Keep what enters each block and compute the rest again on the way back: "
        "less memory, about a third more time (Chen et al. 2016).",
    )


Head = Literal["linear", "mlp", "autoregressive", "masked", "masked-weighted", "one-shot"]


class Control(Config):
    """Models trained for comparison: same encoder, data order, seed and budget."""

    heads: tuple[Head, ...] = Field(
        ("linear",),
        description="Classifiers for one label: linear, mlp. For captions and attributes: "
        "autoregressive, masked, masked-weighted (1/t), one-shot.",
    )


class Arm(Config):
    """A changed experiment that `addkit ablate` compares with the recipe itself."""

    name: str = Field(min_length=1)
    changes: tuple[str, ...] = Field(
        (), description='As after --set: ["loss.name=mse", "sampling.steps=5"].'
    )


class Ablation(Config):
    """The comparison of `addkit ablate`; a plain training does not read it."""

    seeds: int = Field(3, ge=1, description="Trainings of each arm: seed, seed + 1, ...")
    controls: tuple[Head, ...] = Field((), description="Matched models, compared as arms.")
    arms: tuple[Arm, ...] = Field((), description="Changes to the base, each compared with it.")

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
    "augmentation": Augmentation,
    "sampling": Sampling,
    "checkpoints": Checkpoints,
    "distributed": Distributed,
    "control": Control,
    "ablation": Ablation,
}
"""Tables that belong to no component."""
