"""Typed values that pass between components: facts, batches, labels, layouts, steps, answers.

torch is needed for annotations only, so that protocols and these values import without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor


Prepared: TypeAlias = "tuple[Tensor, ...]"
"""What a denoiser computes from the condition alone, batch first."""
SideInputs: TypeAlias = "Mapping[str, Tensor | tuple[str, ...]]"
"""Side inputs of B images by column. Numbers: float (B,), standardised, NaN where missing.
Categories: int64 (B,), -1 where missing. Texts: B strings, "" where missing."""


@dataclass(frozen=True, slots=True)
class Column:
    """A side input, such as a column of the table that lists the images."""

    name: str
    kind: Literal["number", "category", "text"]
    categories: tuple[str, ...] = ()
    """Values that a category can take."""
    mean: float = 0.0
    """A number's mean over training images that have it: batches contain (number - mean) / std."""
    std: float = 1.0


Fit: TypeAlias = Literal["crop", "letterbox", "squash"]
"""How a picture that is no square becomes one; see `addkit.data.images.Pixels.fit`."""
Interpolation: TypeAlias = Literal["bilinear", "bicubic"]
"""How pictures are resampled; both are antialiased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderInput:
    """The input that an encoder's pretrained weights were trained on."""

    image_size: int
    mean: tuple[float, ...]
    """Of each channel of pixels in [0, 1]."""
    std: tuple[float, ...]
    interpolation: Interpolation
    crop_share: float
    """Side of the centre crop / shorter side of the picture, in (0, 1]."""
    origin: str
    """The source of these values, such as `timm's data configuration of resnet50.a1_in1k`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Facts of a data set that need no image to be read."""

    num_classes: int
    class_names: tuple[str, ...]
    """May be empty where the names are in the files alone."""
    image_size: int
    image_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int
    """Pixels of the shorter side before the centre crop to image_size."""
    split_sizes: Mapping[str, int]
    """Number of images in `train`, `test` and, where one is held out, `validation`."""
    interpolation: Interpolation = "bicubic"
    """Of images that are resized."""
    fit: Fit = "crop"
    files: tuple[Path, ...] = ()
    """Files and folders that will be read."""
    class_counts: tuple[int, ...] = ()
    """One label: training images of each class, added when a training opens its data; else empty.
    """
    num_tokens: int = 1
    """N, labels of one image: 1 for classification, the longest caption, the attributes."""
    token_names: tuple[str, ...] = ()
    """Joint labels: the name of each of the N tokens; else empty."""
    token_classes: tuple[tuple[int, int], ...] = ()
    """Joint labels: the classes [start, stop) that each token can take; else empty."""
    combinations: tuple[tuple[int, ...], ...] = ()
    """Joint labels: the combinations that occur in training, where they are few; else empty."""
    tag_shares: tuple[float, ...] = ()
    """Tags: the share of training images that have each of the N tags; else empty."""
    pad: int | None = None
    """Captions: the class that ends and fills a caption; class_names are the vocabulary."""
    unknown: int | None = None
    """Captions: the class of words that the vocabulary lacks."""
    columns: tuple[Column, ...] = ()
    """Side inputs of its batches."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """Counts to print before training, such as captions cut and unknown words."""


TAG_CLASSES = ("no", "yes")
"""The classes that all tokens share where each is a tag: absent and present."""

NO_CATEGORY = -1
"""A category that is missing in a `SideInputs` column."""

MISSING = -1
"""The label of a token whose value is unknown: no loss, and no score."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images, their labels and where they came from."""

    images: Tensor
    """(B, channels, size, size), float, normalised."""
    labels: Tensor
    """(B, N) class ids, `MISSING` where unknown; the first where several are right."""
    indices: tuple[int, ...]
    """Positions in the split; `ImageSet.source` names the file."""
    references: Tensor | None = None
    """(B, C, N): every right answer of each image, where there may be several."""
    reference_counts: Tensor | None = None
    """(B,): how many of an image's C rows count."""
    texts: tuple[tuple[str, ...], ...] | None = None
    """The references as text, whole: tokens joined by spaces, unknown words and all."""
    side_inputs: SideInputs | None = None
    """One entry for each of `DataFacts.columns`."""
    evidence: Tensor | None = None
    """(B, N, K) soft evidence on the labels, see `ChainSettings.evidence`, where the data set has
    some; 0 for labels without any."""


FREE = -1
"""A token without a given label in `ChainSettings.given_labels`."""

FORBIDDEN = -1e4
"""Logit of a class that a token cannot take: no probability in fp32, and no infinity."""


@dataclass(frozen=True, slots=True)
class Noised:
    """Corrupted labels: y_t = b sqrt(alpha_bar) y_0 + sqrt(1 - alpha_bar) eps."""

    y_t: Tensor
    """(B, R, N, K)."""
    noise: Tensor
    """eps, same shape."""


@dataclass(frozen=True, slots=True)
class Clean:
    """The clean label that a step feeds back: hard (ids) or soft (a distribution)."""

    ids: Tensor
    """(B, R, N): the label, or the arg max of `soft`."""
    soft: Tensor | None = None
    """(B, R, N, K), rows sum to 1; None for one-hot."""

    def dense(self, num_classes: int) -> Tensor:
        """(B, R, N, K), rows sum to 1."""
        # Imported here: reading a recipe needs these values, and no torch.
        import torch
        from torch.nn import functional

        if self.soft is not None:
            return self.soft
        # one_hot gives int64.
        return functional.one_hot(self.ids, num_classes).to(torch.get_default_dtype())


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of a training step, with the weight of each token."""

    labels: Tensor
    """(B, R, N) class ids; 0 where one is missing."""
    weights: Tensor | None = None
    """Weight of each token's loss, same shape; None: 1 everywhere."""
    known: Tensor | None = None
    """(B, R, N) bool: False where the label is missing, so that it stays pure noise."""
    real: Tensor | None = None
    """(B, R, N) bool: False for pads, whose loss is reported separately."""
    present: Tensor | None = None
    """(B, R, N) bool: False for tokens to which no other may attend; None: all are visible."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The label tokens in h, and the attention between them."""

    visible: Tensor | None = None
    """Bool, broadcastable to (B, R, n, n): True if token i may attend to token j; None: all may."""
    places: Tensor | None = None
    """(n,) the position of each token in its sequence; None: 0, ..., n - 1."""
    first_answer: int = 0
    """The n tokens from here on are to be predicted."""

    def select(self, images: Tensor) -> Layout:
        """The layout of these images."""
        # One layout for all images has a leading axis of 1, and stays as it is.
        if self.visible is None or len(self.visible) == 1:
            return self
        # (B, R, n, n) -> (images, R, n, n); a first size of 1 serves all images as it is.
        return replace(self, visible=self.visible[images])

    def repeated(self) -> Layout:
        """The same layout for the conditional and the unconditional branch."""
        if self.visible is None or len(self.visible) == 1:
            return self
        return replace(self, visible=self.visible.repeat(2, 1, 1, 1))


@dataclass(frozen=True, slots=True)
class State:
    """Noisy labels, embedded."""

    h: Tensor
    """(B, R, n, D)."""
    y_t: Tensor | None = None
    """(B, R, n, K), where a sampler, a loss or the denoiser needs it."""
    noise: Tensor | None = None
    """eps, same shape, where y_t is kept."""

    def select(self, images: Tensor) -> State:
        """The state of these images, in this order."""
        # A state that all images share, such as y_T = 0, has a leading axis of 1.
        return self._map(lambda x: x if len(x) == 1 else x[images])

    def repeated(self) -> State:
        """The same state for the conditional and the unconditional branch, (2B, R, n, ...)."""
        return self._map(lambda x: x.repeat(2, 1, 1, 1))

    def _map(self, change: Callable[[Tensor], Tensor]) -> State:
        y_t, noise = (None if x is None else change(x) for x in (self.y_t, self.noise))
        return State(change(self.h), y_t, noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSettings:
    """Settings of the distribution of times; see `addkit.recipe.Training` for each."""

    stratified: bool = True
    pure_noise: float = 0.0
    power: float = 1.0
    warp: Callable[[Tensor], Tensor] | None = None
    """u -> t, in place of u ** power."""
    token_times: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Shares of rows whose tokens have one t together, a t each, or are clean or at T."""


@dataclass(frozen=True, slots=True)
class NoisyBatch:
    """Labels of a training step with their noise levels; the network embeds them."""

    ids: Tensor
    """(B, R, N): the clean labels whose noisy versions are read."""
    alpha_bar: Tensor
    """Signal power at which each is read, broadcastable to (B, R, N)."""
    t: Tensor
    """Input times of the network, broadcastable to (B, R, N)."""
    weights: Tensor | None = None
    """(B, R, N), the weight of each token's loss; None: 1 everywhere."""
    norm: Tensor | None = None
    """Divides the weighted sum; None: the sum of the weights."""
    layout: Layout | None = None
    context: Tensor | None = None
    """(B, R, M): labels that are read clean, at t = 0, before the N noisy ones."""
    target_alpha_bar: Tensor | None = None
    """Signal power of the tokens to be predicted; None: `alpha_bar`. It differs where a position
    does not read the token that it predicts."""
    sampled_t: Tensor | None = None
    """Times of the predicted tokens as drawn, (B, R, N); None: times were not drawn."""


class TimedLosses(NamedTuple):
    """Losses of tokens and their times, (tokens,) each, no gradient."""

    t: Tensor
    losses: Tensor
    weights: Tensor
    """Weight of each in the loss."""

    @property
    def drawn(self) -> Tensor:
        """The weights, 0 at t = 0 and t = T: the map u -> t did not draw these tokens' times."""
        # `pure_noise` and `token_times` set those two: an adaptive map must not learn from them.
        return self.weights * ((self.t > 0) & (self.t < 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """Settings of sampling chains."""

    steps: int
    guidance: float = 1.0
    chains: int = 1
    early_exit: int = 0
    """Stop an image once its labels have not changed for this many steps; 0 disables."""
    start: Literal["noise", "zero"] = "noise"
    keep_y_t: bool = False
    """Keep y_t and yield it, even if neither the network nor the sampler needs it."""
    shuffled: bool = False
    """Audit: give each image another image's state from the second step on."""
    given_labels: Tensor | None = None
    """Given labels, broadcastable to (B, R, N); FREE elsewhere."""
    bias: Tensor | None = None
    """Added to logits, broadcastable to (B, R, N, K)."""
    evidence: Tensor | None = None
    """Soft evidence L, broadcastable to (B, 1, N, K): log p(observation | label n is k), up to a
    constant of each label; 0 where nothing was observed. See `Process`."""
    lengths: Tensor | None = None
    """(B, R): number of tokens of each chain that the network reads; None: all."""
    prior: Tensor | None = None
    """(B, R): log probability of each chain's given values, such as its length."""


@dataclass(frozen=True, slots=True)
class NoisyLabels:
    """Input of the network at one step of a chain."""

    state: State
    t: Tensor
    """Broadcastable to (B, R, N). A single number where all tokens follow one time."""
    settled: Tensor | None = None
    """(B, R, N) bool: tokens that stay clean until the end."""
    labels: Tensor | None = None
    """(B, R, N): the labels of settled tokens."""

    def select(self, images: Tensor) -> NoisyLabels:
        """The noisy labels of these images; which tokens are settled stays."""
        # Settled tokens are those of the place in the batch: the audit swaps states alone.
        t = self.t if len(self.t) == 1 else self.t[images]
        return replace(self, state=self.state.select(images), t=t)


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One denoising step of all chains, R for each of B images."""

    index: int
    """0 for the first step, at t = T."""
    t: float
    logits: Tensor
    """(B, R, N, K), guided; tokens that are settled keep the logits that settled them."""
    clean: Clean
    exited: Tensor
    """(B,) bool: images that had stopped before this step."""
    y_t: Tensor | None = None
    """The state that the step read, (B, R, N, K), where the chain keeps it."""
    prior: Tensor | None = None
    """(B, R) log probability of the chain's given values, such as its length."""
    scores: Tensor | None = None
    """(B, R), falling, if the chains are the best answers of a search and not samples."""
    marginals: Tensor | None = None
    """(B, N, K), rows sum to 1: the marginals of a search, where they are not the mean over chains
    of softmax(logits)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """Settings of inference that an answer was made with, as really used."""

    read_out: str
    sampler: str | None
    """None for an answer of one pass, which takes no sampler's step."""
    to_one: str | None
    """The to-one operator in effect: `sample` for a sampler that draws the labels itself."""
    steps: int
    """Steps asked for; `Answer.steps` are those that each image took."""
    guidance: float
    chains: int
    early_exit: int = 0
    evidence: Literal["state", "bias"] | None = None
    """How soft evidence was taken in: read as a noisy label, or added to logits; None: there was
    none."""

    @property
    def one_pass(self) -> bool:
        """True if no chain was run."""
        return self.sampler is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Result of a read-out. S candidates for each image, the best first."""

    labels: Tensor
    """(B, N), the answer."""
    probabilities: Tensor
    """(B, N, K), rows sum to 1: the marginal of each token."""
    votes: Tensor
    """(B, N, K): share of chains whose last label is k."""
    steps: Tensor
    """(B,) denoising steps that each image took."""
    candidates: Tensor
    """(B, S, N): whole answers."""
    confidence: Tensor
    """(B, S, N): the probability that a candidate's own chain gave each of its tokens."""
    scores: Tensor
    """(B, S): the read-out's ranking of candidates; of a search log p of each, up to a constant."""
    log_p: Tensor | None = None
    """(B, S): exact log p(candidate | image), if requested."""
    prior: Tensor | None = None
    """(B, S): log p of the candidate's length, where a length head chose it."""
    truth_log_p: Tensor | None = None
    """(B,): exact log p(labels | image) of the true labels, in evaluation; NaN where unknown."""
    inference: InferenceSettings | None = None
    """Settings of the answer; None where a read-out is called by hand."""
    votes_inference: InferenceSettings | None = None
    """Settings of the votes, where chains ran in addition to a read-out of one pass."""
    votes_steps: Tensor | None = None
    """(B,) denoising steps of those chains; `steps` stay the answer's own."""
