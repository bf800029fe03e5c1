"""What a component of each kind must do. A plugin author reads this page whole.

Letters in shapes: B images, R reuse copies (training) or chains (sampling), N label tokens,
K classes, L encoder tokens, C condition tokens; W, V and D the widths of encoder tokens,
condition tokens and the embedded state h. Times t lie in [0, 1], and t = 1 (the paper's T) is pure
noise. alpha_bar lies in [0, 1]. Both have a shape that broadcasts to (B, R, N).

Encoders, conditioners, embeddings and denoisers are `torch.nn.Module`s; the rest are plain objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from addkit.diffusion.results import Answer, ChainStep, Clean
    from addkit.recipe.model import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What is known of a data set without reading an image."""

    num_classes: int
    class_names: tuple[str, ...]
    """May be empty where only the files tell the names."""
    image_size: int
    image_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int
    """Pixels of the shorter side before the centre crop to image_size."""
    split_sizes: Mapping[str, int]
    """Number of images in `train`, `test` and, where one is held out, `validation`."""
    files: tuple[Path, ...] = ()
    """Files and folders that will be read."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images, their labels and where they came from."""

    images: Tensor
    """(B, channels, size, size), float, normalised."""
    labels: Tensor
    """(B, N) class ids."""
    indices: tuple[int, ...]
    """Positions in the split; `ImageSet.source` names the file."""


class ImageSet(Protocol):
    """One split. A map-style data set: what it returns depends on the arguments alone."""

    labels: Tensor
    """(number of images, N) class ids, without reading an image."""

    def __len__(self) -> int: ...

    def source(self, index: int) -> str:
        """The file (or the set's own name for an image) to show a person."""
        ...

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; with a seed they are augmented, each by (seed, index) alone."""
        ...


class DataSource(Protocol):
    """A data set. Building one reads no image; `split` does.

    How a user's own image becomes the encoder's input follows from the facts alone
    (`addkit.data.prepare.prepare_image`), so that a run can answer where its data is not.
    """

    facts: DataFacts

    def split(self, name: str) -> ImageSet:
        """Open `train`, `validation` or `test`. Raises `DataError` for missing or broken files."""
        ...

    def augmented(self, augmentation: Augmentation) -> DataSource:
        """The same data whose training images are augmented."""
        ...


class Encoder(Protocol):
    """Turns images into tokens: z = E(x) (section 3.3)."""

    width: int
    num_tokens: int
    num_prefix_tokens: int

    def __call__(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, L, W)."""
        ...


class Conditioner(Protocol):
    """Picks the condition c from the encoder's tokens (section 3.3)."""

    width: int
    num_tokens: int

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, C, V)."""
        ...


class Embedding(Protocol):
    """How the network reads a noisy label. Two doors onto the same distribution."""

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """A state that somebody holds, (B, R, N, K) -> h, (B, R, N, D)."""
        ...

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        """Embed freshly corrupted labels (B, R, N), distributed as read(corrupt(labels))."""
        ...


class Denoiser(Protocol):
    """The network f(y_t, t, c) up to its last linear layer."""

    width: int
    """D, the width of h and of the features."""
    uses_state: bool
    """False for a control, which ignores h and t; its features then have R = 1."""
    bayes_skip: bool
    """Add c_t y_t to the logits, so that the network learns log p(k | image) alone."""

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Whatever depends on the condition (B, C, V) alone; batch first, computed once."""
        ...

    def __call__(self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...]) -> Tensor:
        """H (B, R, N, D), t broadcastable to (B, R, N) -> features (B, R, N, D)."""
        ...


class Schedule(Protocol):
    """alpha_bar(t), falling from about 1 at t = 0 to about 0 at t = 1."""

    scale: float
    """b, the height of the hot entry: y_t = b sqrt(alpha_bar) y_0 + sqrt(1 - alpha_bar) eps."""
    t_power: float
    """Training times are u ** t_power with u uniform; below 1 favours noise."""

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t."""
        ...


class Loss(Protocol):
    """Compares the network's K outputs with the clean label."""

    predicts: Literal["label", "noise"]
    """What the outputs stand for. `noise` makes the objective hold y_t and pass the noise."""

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """(B, R, N, K), (B, R, N), -> loss of each row (B, R, N), fp32."""
        ...

    def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
        """The outputs as unnormalised log p(y_0 | y_t, c), (B, R, N, K)."""
        ...


class ToOne(Protocol):
    """From predicted logits to the clean label that is fed back."""

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> labels (B, R, N), hard or soft."""
        ...


class Sampler(Protocol):
    """How much of the old noise a step carries over: r in [0, 1].

    y_s = b sqrt(alpha_bar_s) y_0 + sqrt(1 - alpha_bar_s) (r eps_hat + sqrt(1 - r^2) eps), where
    eps_hat is the noise that y_t holds if y_0 is right. r = 0 re-noises (the paper).
    """

    carries_state: bool
    """False where r = 0 always, so that the state need not be held."""
    draws: bool
    """True if the sampler draws the clean label itself instead of asking the to-one operator."""

    def carry(self, m_t: Tensor, m_s: Tensor) -> Tensor:
        """The share r for a step from label signal-to-noise m_t to m_s >= m_t."""
        ...


class ReadOut(Protocol):
    """The rule that turns chains into an answer."""

    start: Literal["noise", "zero"]
    """The first state: drawn noise, or y_T = 0."""
    max_steps: int | None
    """Steps it takes at most, whatever is asked; None for as many as asked."""

    def read(self, steps: Iterable[ChainStep]) -> Answer:
        """Consume a chain."""
        ...


class Meter(Protocol):
    """Gathers scores batch by batch."""

    def update(self, answer: Answer, labels: Tensor) -> None:
        """An answer (B, N, K) against labels (B, N)."""
        ...

    def compute(self) -> Any:
        """A dataclass of scores over all images so far."""
        ...

    @property
    def correct(self) -> Tensor:
        """(images,) bool: which were right, in the order seen."""
        ...


class Task(Protocol):
    """What a batch means, and how an answer is scored and told."""

    def meter(self) -> Meter:
        """A fresh meter of this task's scores."""
        ...

    def tell(self, answer: Answer, top: int) -> Sequence[Any]:
        """One typed prediction for each image, with its `top` best answers."""
        ...
