"""The protocol of each kind of component, on one page for plugin authors.

Letters in shapes: B images, R reuse copies (training) or chains (sampling), N label tokens,
K classes, L encoder tokens, C condition tokens; W, V and D the widths of encoder tokens,
condition tokens and the embedded state h. Times t lie in [0, 1], and t = 1 (the paper's T) is pure
noise. alpha_bar lies in [0, 1]. Both have a shape that broadcasts to (B, R, N).

Encoders, conditioners, embeddings, denoisers and timesteps are `torch.nn.Module`s; the rest are
plain objects. Each example is complete except for `import torch` and `from torch import nn`, and
passes the laws of its kind; a parameter `problem` gets the `Problem`. Properties that others rely
on, such as a condition of one token, are abilities that the Spec `provides`
(`addkit.plugin.spec.ABILITIES`). `addkit plugins new` writes a package around such an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from addkit.plugin.values import Batch, DataFacts

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from addkit.plugin.values import (
        Answer,
        ChainSettings,
        ChainStep,
        Clean,
        InferenceSettings,
        Layout,
        NoisyBatch,
        NoisyLabels,
        Prepared,
        State,
        Targets,
        TimeSettings,
    )
    from addkit.recipe.tables import Augmentation


class ImageSet(Protocol):
    """One split. A map-style data set: results depend on the arguments alone."""

    labels: Tensor
    """(number of images, N) class ids, without reading an image; the first of several answers."""

    def __len__(self) -> int: ...

    def source(self, index: int) -> str:
        """The file of an image, or the set's own name for it, to print."""
        ...

    def picture(self, index: int) -> Image:
        """The image to display: upright, RGB or grey, before any resizing."""
        ...

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; with a seed they are augmented, each by (seed, index) alone."""
        ...


class Vocabulary(Protocol):
    """The K tokens that captions are written in. The pad ends a caption and fills it up."""

    tokens: tuple[str, ...]
    """K different texts, the pad's and the unknown's included."""
    pad: int
    unknown: int | None
    """The id of words without a token of their own; None where there are none (subwords)."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without pads."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first pad."""
        ...

    def plain(self, text: str) -> str:
        """A text as `decode` would give it if no word were unknown and no caption too long."""
        ...


class Tokenizer(Protocol):
    """Cuts captions into tokens.

    A worked example::

        class Characters:
            def learn(self, captions):
                letters = {letter for text in captions for letter in text}
                return Letters(["<pad>", *sorted(letters)])

            def restore(self, tokens):
                return Letters(tokens)

        class Letters:
            pad, unknown = 0, 0

            def __init__(self, tokens):
                self.tokens = tuple(tokens)

            def encode(self, text):
                return [self.tokens.index(each) for each in text if each in self.tokens]

            def decode(self, ids):
                return "".join(self.tokens[index] for index in ids).partition("<pad>")[0]

            def plain(self, text):
                return text
    """

    def learn(self, captions: Iterable[str]) -> Vocabulary:
        """The vocabulary of these training captions, which depends on nothing else."""
        ...

    def restore(self, tokens: Sequence[str]) -> Vocabulary:
        """The vocabulary with these tokens, as a run stored them."""
        ...


class DataSource(Protocol):
    """A data set. Building one reads no image; `split` does.

    How a user's own image becomes the encoder's input follows from the facts alone
    (`addkit.data.images.prepare_image`), so that a run can answer without its data.

    A worked example::

        from addkit.data.image_sets import Bitmaps, MemoryImages
        from addkit.data.source import Source
        from addkit.plugin.values import DataFacts

        class Halves(Source):
            '''Images of which one half is white.'''

            def __init__(self):
                names, sizes = ("left", "right"), {"train": 16, "test": 4}
                grey = {"image_channels": 1, "mean": (0.5,), "std": (0.5,)}
                pixels = {"image_size": 8, "shorter_side": 8, **grey}
                facts = DataFacts(num_classes=2, class_names=names, split_sizes=sizes, **pixels)
                super().__init__(facts)

            def _open(self, name, augmenter):
                labels = torch.arange(self.facts.split_sizes[name]).remainder(2).unsqueeze(1)
                images = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
                images[0::2, :, :, :4], images[1::2, :, :, 4:] = 255, 255
                names = tuple(f"{name} {number}" for number in range(len(labels)))
                return MemoryImages(Bitmaps(images, 255, labels, names), self.pixels, augmenter)
    """

    facts: DataFacts

    def split(self, name: str) -> ImageSet:
        """Open `train`, `validation` or `test`. Raises `DataError` for missing or broken files."""
        ...

    def augmented(self, augmentation: Augmentation) -> DataSource:
        """The same data whose training images are augmented."""
        ...


class Encoder(Protocol):
    """Turns images into tokens: z = E(x) (section 3.3).

    Settings may have `frozen: bool`, which trains everything else alone, and `lr_scale: float`, the
    share of the learning rate that its weights get; `addkit.encoders.settings.EncoderConfig` has
    both. In evaluation an image's tokens must depend on that image alone: those of a frozen encoder
    are computed once and kept.

    A worked example::

        class Patches(nn.Module):
            num_prefix_tokens, width = 0, 16

            def __init__(self, problem):
                super().__init__()
                self.num_tokens = (problem.image_size // 4) ** 2
                self.cut = nn.Conv2d(problem.image_channels, 16, 4, stride=4)

            def forward(self, images):
                return self.cut(images).flatten(2).transpose(1, 2)
    """

    width: int
    num_tokens: int
    num_prefix_tokens: int

    def __call__(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, L, W)."""
        ...


class Conditioner(Protocol):
    """Picks the condition c from the encoder's tokens (section 3.3).

    A conditioner of side inputs has `reads_side_inputs = True`; its Spec provides `side-inputs`.
    It is called with (tokens, side_inputs): each of `Problem.columns` by name, on the device of the
    tokens; missing values are NaN, `NO_CATEGORY` or an empty text.

    Of a frozen encoder's tokens all are kept on the disk, unless the conditioner has a method
    `pool(tokens) -> tokens`, (B, L, W) -> (B, L', W): only its result is kept then. It has no
    weights, and gives the same for its own result: `pool(pool(tokens))` is `pool(tokens)`, and
    calling the conditioner with either gives the same condition.

    A worked example, whose Spec provides `one-token`::

        class Largest(nn.Module):
            num_tokens = 1

            def __init__(self, problem):
                super().__init__()
                self.width, self.prefix = problem.encoder_width, problem.num_prefix_tokens

            def forward(self, tokens):
                return tokens[:, self.prefix :].amax(1, keepdim=True)
    """

    width: int
    num_tokens: int

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, L, W) -> (B, C, V)."""
        ...


class Embedding(Protocol):
    """Embeds noisy labels. `read` takes a given one and `draw` a fresh one, alike in distribution.

    A worked example::

        from addkit.diffusion import corrupt

        class Projected(nn.Module):
            def __init__(self, problem):
                super().__init__()
                self.scale, self.classes = problem.scale, problem.num_classes
                self.project = nn.Linear(problem.num_classes, problem.state_width, bias=False)

            def read(self, y_t, alpha_bar):
                return self.project(y_t)

            def draw(self, labels, alpha_bar, generator):
                noisy = corrupt(labels, alpha_bar, self.classes, generator, self.scale)
                return self.read(noisy.y_t, alpha_bar)
    """

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """Embed a noisy label that the caller already has, (B, R, N, K) -> h, (B, R, N, D)."""
        ...

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        """Embed freshly corrupted labels (B, R, N), distributed as read(corrupt(labels))."""
        ...


class Denoiser(Protocol):
    """The network f(y_t, t, c) up to its last linear layer.

    A worked example, whose Spec provides `reads-state`::

        class Sum(nn.Module):
            uses_state, bayes_skip, self_condition, width = True, True, 0.0, 32

            def __init__(self, problem):
                super().__init__()
                self.condition = nn.Linear(problem.condition_width, 32)
                self.layers = nn.Sequential(nn.Linear(33, 64), nn.GELU(), nn.Linear(64, 32))

            def prepare(self, condition):
                return (self.condition(condition.mean(1)),)

            def forward(self, h, t, prepared, layout=None):
                h = h + prepared[0][:, None, None]
                time = t.expand(h.shape[:3]).unsqueeze(-1)
                return self.layers(torch.cat([h, time.to(h.dtype)], -1))
    """

    width: int
    """D, the width of h and of the features."""
    uses_state: bool
    """False for one that ignores h and t; its features then have R = 1."""
    bayes_skip: bool
    """Add c_t y_t to the logits, so that the network learns log p(k | image) alone."""
    self_condition: float
    """Share of training steps that read the features of a first pass; 0 disables."""

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Tensors that depend on the condition (B, C, V) alone, batch first, computed once."""
        ...

    def __call__(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        """H (B, R, n, D), t broadcastable to (B, R, n) -> features (B, R, n, D).

        A layout lists the tokens in h and which of them each one attends to; a denoiser that treats
        each token by itself ignores it.
        """
        ...


class JointDenoiser(Denoiser, Protocol):
    """A denoiser whose tokens see each other; its Spec provides `joint`."""

    def extend(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The features of a call with R = 1, and the prepared condition extended by these tokens,
        to which later tokens attend as they do to the condition.
        """
        ...


class Schedule(Protocol):
    """alpha_bar(t), falling from about 1 at t = 0 to about 0 at t = 1.

    A worked example::

        class Square:
            scale, t_power = 1.0, 1.0

            def alpha_bar(self, t):
                return (1 - t) ** 2
    """

    scale: float
    """b, the height of the hot entry: y_t = b sqrt(alpha_bar) y_0 + sqrt(1 - alpha_bar) eps."""
    t_power: float
    """Training times are u ** t_power with u uniform; below 1 favours noise."""

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t."""
        ...


class Timesteps(Protocol):
    """Distribution of training times; an `nn.Module` with its statistics in buffers.

    A worked example::

        class Late(nn.Module):
            def forward(self, u):
                return u.sqrt()

            def learn(self, t, losses, weights):
                pass
    """

    def __call__(self, u: Tensor) -> Tensor:
        """Uniform in [0, 1], any shape -> t, same shape, rising from 0 to 1."""
        ...

    def learn(self, t: Tensor, losses: Tensor, weights: Tensor) -> None:
        """Update after an optimizer step, with its (tokens,) values. Must draw no random number."""
        ...


class Loss(Protocol):
    """Compares the network's K outputs with the clean label.

    A worked example::

        class Brier:
            predicts = "label"

            def __call__(self, outputs, labels, alpha_bar, noise):
                hot = nn.functional.one_hot(labels, outputs.shape[-1])
                return (outputs.softmax(-1) - hot).square().sum(-1)

            def logits(self, outputs, y_t, alpha_bar):
                return outputs
    """

    predicts: Literal["label", "noise"]
    """Meaning of the outputs. For `noise` the objective keeps y_t and passes the noise."""

    def __call__(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """(B, R, N, K), (B, R, N), -> loss of each row (B, R, N), fp32."""
        ...

    def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
        """The outputs as unnormalised log p(y_0 | y_t, c), (B, R, N, K)."""
        ...


class ToOne(Protocol):
    """From predicted logits to the clean label that is fed back.

    A worked example::

        from addkit.diffusion import Clean

        class Best:
            def __call__(self, logits, generator):
                return Clean(logits.argmax(-1))
    """

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> labels (B, R, N), hard or soft."""
        ...


class LabelModel(Protocol):
    """The part of the network around the components that processes and samplers use."""

    num_classes: int
    num_tokens: int
    schedule: Schedule
    denoiser: Denoiser
    forbidden: Tensor | None
    """(N, K), added to logits by `logits`; None where every token can take every class."""
    needs_y_t: bool
    """True if something after the embedding needs y_t itself."""

    def corrupt(
        self, clean: Clean, alpha_bar: Tensor, generator: torch.Generator, *, keep_y_t: bool = False
    ) -> State:
        """A freshly corrupted label, embedded; with y_t if `keep_y_t` or if it is needed."""
        ...

    def read(self, y_t: Tensor, alpha_bar: Tensor, noise: Tensor | None = None) -> State:
        """Embed a noisy label (B, R, N, K) that the caller already has."""
        ...

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Tensors that depend on the condition (B, C, V) alone."""
        ...

    def features(
        self,
        state: State,
        t: Tensor,
        prepared: tuple[Tensor, ...],
        layout: Layout | None = None,
        previous_features: Tensor | None = None,
    ) -> Tensor:
        """Input of the output layer, (B, R, N, D)."""
        ...

    def outputs(
        self, features: Tensor, state: State | None = None, alpha_bar: Tensor | None = None
    ) -> Tensor:
        """The K outputs, (B, R, N, K)."""
        ...

    def logits(
        self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """Unnormalised log p(y_0 | y_t, c)."""
        ...


class Process(Protocol):
    """Corruption of labels in training, and the exact likelihood of whole answers.

    Optional: soft evidence L_n(k) = log p(observation | y_n = k), of an annotator with a known
    error rate, another model or a shifted prior. The Spec's `evidence_sampler` is the sampler that
    answers p(y | x, L) prop. to p(y | x) exp(sum_n L_n(y_n)); it reads `ChainSettings.evidence`:

    - as a state, where each token is read at a noise level of its own: log q(y_t | k) = c_t y_t[k],
      so a noisy label with c_t y_t = L is evidence L. With u_m = L_m for m != n and u_n = 0,
      p(y_n = k | x, L) prop. to exp(L_n(k)) p(y_n = k | x, u)
    - as a bias of each label's logits, in a search over whole answers.

    A worked example, whose Spec provides `token-times`, `noise-levels` and `noisy-state`::

        from dataclasses import replace
        from addkit.processes.gaussian import GaussianProcess

        class Lenient(GaussianProcess):
            '''One label in ten has no loss.'''

            def corrupt(self, targets, schedule, times, generator):
                shape, device = targets.labels.shape, generator.device
                counts = torch.rand(shape, generator=generator, device=device) > 0.1
                weights = counts.float() if targets.weights is None else counts * targets.weights
                targets = replace(targets, weights=weights)
                return super().corrupt(targets, schedule, times, generator)
    """

    block: int | None
    """Number of noisy tokens that the network reads at a time, after the clean ones before them.
    None: all N. 0: none, since each token is predicted from the clean ones before it."""

    def corrupt(
        self, targets: Targets, schedule: Schedule, times: TimeSettings, generator: torch.Generator
    ) -> NoisyBatch:
        """The labels (B, R, N) that a training step reads, their noise levels and their weights.

        The network draws the noise and embeds the labels afterwards.
        """
        ...

    def likelihood(
        self,
        model: LabelModel,
        prepared: Prepared,
        labels: Tensor,
        present: Tensor | None = None,
        counts: Tensor | None = None,
    ) -> Tensor:
        """log p(labels | condition), (B, S, N) -> (B, S); `present`, of the same shape, is False
        for tokens that do not exist, such as pads that the network must not see. `counts`, of the
        same shape, are the tokens whose log p is summed: a caption's up to its end; None: all.

        The model is an argument since a likelihood needs passes of the network, of which the
        process is a component.
        """
        ...


class Chain(Protocol):
    """Chains of one batch of images: everything that is constant over their steps."""

    @property
    def model(self) -> LabelModel: ...
    @property
    def to_one(self) -> ToOne: ...
    @property
    def settings(self) -> ChainSettings: ...
    @property
    def generator(self) -> torch.Generator:
        """Source of all noise; tensors of the chain are on its device."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, R, N)."""
        ...

    @property
    def block(self) -> int | None:
        """See `Process.block`; None within a block."""
        ...

    @property
    def prepared(self) -> tuple[Tensor, ...]:
        """The prepared condition, (B, ...), or (2B, ...) followed by the null condition."""
        ...

    @property
    def branches(self) -> int:
        """2 under guidance, the conditional and the unconditional one; else 1."""
        ...

    def guide(self, outputs: Tensor) -> Tensor:
        """Combine both branches' outputs (2B, ...); without guidance there is one branch only."""
        ...

    def noise(self, clean: Clean, alpha_bar: Tensor, *, keep_y_t: bool = False) -> State:
        """A clean label with fresh noise at this signal power."""
        ...

    def predict(self, now: NoisyLabels) -> Tensor:
        """Guided logits (B, R, N, K) of a noisy state: one more pass of the network.

        The loop itself makes one at each step; a corrector may make another.
        """
        ...


class Sampler(Protocol):
    """Samples labels from the condition, step by step.

    One object serves many chains, one after the other, so that state begins anew in `sample`.
    Most samplers follow the loop of `addkit.sampling.loop` and own its step; they subclass
    `addkit.samplers.renoise.Renoise`, the paper's, and override one of `StepSampler`'s methods.
    `CarryNoise`, in the same file, is the base where a share r of the old noise is carried over.

    A worked example, whose Spec provides `shared-time`::

        from dataclasses import replace
        from addkit.samplers.renoise import Renoise

        class Corrected(Renoise):
            '''A predictor step, then a corrector step at the same time.'''

            def step(self, chain, now, logits, clean, s, done):
                predicted = super().step(chain, now, logits, clean, s, done)
                corrected = self.clean(chain, chain.predict(predicted))
                alpha_bar = chain.model.schedule.alpha_bar(s)
                return replace(predicted, state=chain.noise(corrected, alpha_bar))
    """

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """Steps of all chains; the `clean` of the last is the sample."""
        ...


class StepSampler(Protocol):
    """A sampler for the loop, which repeats predict, `clean` and `step`.

    y_s = b sqrt(alpha_bar_s) y_0 + sqrt(1 - alpha_bar_s) (r eps_hat + sqrt(1 - r^2) eps), where
    eps_hat is the noise in y_t if y_0 is right; r = 0 re-noises (the paper).
    """

    def steps(self, asked: int, num_tokens: int) -> int:
        """The number of steps of a chain."""
        ...

    def start(self, chain: Chain) -> NoisyLabels:
        """The first state, at t = 1."""
        ...

    def clean(self, chain: Chain, logits: Tensor) -> Clean:
        """Logits (B, R, N, K) -> the clean label that is fed back."""
        ...

    def step(
        self, chain: Chain, now: NoisyLabels, logits: Tensor, clean: Clean, s: Tensor, done: float
    ) -> NoisyLabels:
        """The noisy labels of the next step.

        Args:
            chain: everything that is constant over the steps.
            now: the noisy labels of this step.
            logits: the network's prediction for them, (B, R, N, K).
            clean: the label fed back.
            s: the next time, (1, 1, 1).
            done: share of the steps that are done, in (0, 1).
        """
        ...


class ReadOut(Protocol):
    """Reduces chains to an answer; one object serves many.

    A worked example::

        from addkit.read_outs.by_token import Last

        class Mildest(Last):
            '''The mean of the chains' last probabilities, mixed with a uniform 1 %.'''

            def probabilities(self, end):
                mean = end.step.logits.softmax(-1).mean(1)
                return 0.99 * mean + 0.01 / mean.shape[-1]
    """

    start: Literal["noise", "zero"]
    """The first state: drawn noise, or y_T = 0."""
    max_steps: int | None
    """Upper bound on the steps that are asked for; None: no bound."""

    def read(
        self, steps: Iterable[ChainStep], likelihood: Callable[[Tensor], Tensor] | None = None
    ) -> Answer:
        """Consume a chain; `likelihood` gives log p of whole answers, (B, S, N) -> (B, S)."""
        ...


class Meter(Protocol):
    """Accumulates scores batch by batch."""

    def update(self, answer: Answer, batch: Batch) -> None:
        """Score an answer against the labels, or references, of its batch."""
        ...

    def merge(self, other: Any) -> None:
        """Append the images of another meter of this kind."""
        ...

    def compute(self) -> Any:
        """A dataclass of scores over all images so far, `count` among them."""
        ...

    @property
    def correct(self) -> Tensor:
        """(images,) bool: which were right, in the order of the updates."""
        ...

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """Names of the classes that images have and no answer has; empty for a task without
        classes.
        """
        ...

    def examples(self, count: int) -> list[tuple[str, str]]:
        """Truth and answer of some images for a person to read; may be empty."""
        ...


class Prediction(Protocol):
    """The answer for one image. `addkit.tasks.predictions.Made` implements the last two."""

    @property
    def steps(self) -> int:
        """Denoising steps that were taken."""
        ...

    def data(self) -> dict[str, Any]:
        """The prediction as JSON, `settings()` included."""
        ...

    @property
    def inference(self) -> InferenceSettings | None:
        """The settings of inference, from `Answer.inference`."""
        ...

    def rows(self) -> list[tuple[str, ...]]:
        """Rows of a table, a cell for each of the task's columns."""
        ...

    @property
    def chain(self) -> InferenceSettings | None:
        """The settings of the chains behind it; None if all of it came from one pass."""
        ...

    def how_made(self, steps: int) -> str:
        """One line for people on the settings that made it."""
        ...


class Task(Protocol):
    """Converts a batch to targets, and an answer to scores and predictions.

    A worked example::

        from addkit.diffusion import Targets
        from addkit.tasks.classification import Classification

        class Weighted(Classification):
            '''The first class has twice the weight.'''

            def targets(self, labels):
                return Targets(labels, 1.0 + (labels == 0))
    """

    headline: str
    """The main score: a field of the meter's scores."""
    columns: tuple[str, ...]
    """Headings of the table of predictions."""
    predicts_length: bool
    """True if the network must predict how many of the N tokens are real."""

    def targets(self, labels: Tensor) -> Targets:
        """The targets of a training step for labels (B, R, N), with the weight of each token."""
        ...

    def meter(self) -> Meter:
        """A fresh meter of this task's scores."""
        ...

    def predictions(self, answer: Answer, top: int) -> Sequence[Any]:
        """A `Prediction` for each image, with its `top` best answers."""
        ...

    def given_labels(self, given: Mapping[str, str]) -> Tensor:
        """Labels that a user gives, (N,), -1 where a token is free.

        Keys are `template`, `length`, or the name of an attribute. Raises `UsageError` for an
        unknown key or value.
        """
        ...


class Tracker(Protocol):
    """Logs one training, on rank 0 alone.

    An error after training has begun is printed and stops nothing; a missing package or key must
    therefore be an error of `Spec.build`.

    A worked example::

        from pathlib import Path

        class Notes:
            def begin(self, run, recipe):
                self.file = Path(run, "notes.txt").open("a", encoding="utf-8")

            def log(self, step, values):
                texts = [f"{name}={value:.4g}" for name, value in values.items()]
                print(step, *texts, file=self.file)

            def close(self):
                self.file.close()
    """

    def begin(self, run: str, recipe: Mapping[str, Any]) -> None:
        """Start or resume a training in the folder `run`, with the tables of its recipe."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers by name after an optimizer step.

        Steps rise. A resumed training repeats those after its checkpoint.
        """
        ...

    def close(self) -> None:
        """End the training; called after an error too."""
        ...
