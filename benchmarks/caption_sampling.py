"""`caption-sampling`: 20 steps of captions, batch 32, N = 20, K = 10,112, 256 condition tokens.

Random weights, renoise and arg max, once at the paper's size and once with the trunk of addkit's
caption recipes. The fast path (embedding draw, condition prepared once, first step without noise)
is timed against the same chain around the same denoiser with dense noise and the condition prepared
again at every step, whose answers must have the same distribution; against one whose condition
tokens pass through every block with the label tokens; and against autoregression, greedy and with
a cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from measure import Options, Row, Target, alternate, note, ratios
from torch import Tensor, nn

from addkit.conditioners.tokens import AllTokens
from addkit.denoisers.settings import TransformerConfig
from addkit.denoisers.transformer import Block, TransformerDenoiser
from addkit.diffusion import ChainSettings, ChainStep, LabelDiffusion, Layout, corrupt
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.embeddings.token import TokenEmbedding
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin.spec import Problem
from addkit.processes.autoregressive import AutoregressiveProcess
from addkit.processes.gaussian import GaussianProcess
from addkit.samplers.blocks import sample
from addkit.samplers.ordered import LeftToRight
from addkit.samplers.renoise import Renoise
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import LabelAccuracyConfig
from addkit.to_one.operators import ArgMax

__all__ = ["SIZES", "TINY", "Dense", "Size", "network"]

STEPS = 20
AGAINST_CACHE = (1, 5, 20)
LOOKS = 4
"""Steps of the chains whose logits are compared: levels from pure noise to t = 1/4."""
PROJECTIONS = 8
CHAINS = 1024
CHANCE = 0.01
"""Probability of a false alarm, over all comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Sizes of the benchmark."""

    name: str
    width: int
    depth: int
    heads: int
    classes: int = 10_112
    tokens: int = 20
    conditions: int = 256
    batch: int = 32


SIZES = (
    Size(name="paper", width=512, depth=5, heads=8),
    Size(name="addkit", width=128, depth=2, heads=4),
)
"""Trunks of recipes/base/paper.toml and of recipes/base/captions.toml."""
TINY = replace(
    SIZES[1], name="tiny", width=32, depth=2, heads=2, classes=600, tokens=8, conditions=16, batch=8
)


class Dense(nn.Module):
    """An embedding whose `draw` makes K normals for every token and embeds them."""

    def __init__(self, embedding: PosteriorEmbedding) -> None:
        super().__init__()
        self.embedding = embedding

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """See `Embedding.read`."""
        return self.embedding.read(y_t, alpha_bar)

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        """read(corrupt(labels)), the definition of every draw."""
        num_classes = len(self.embedding.weight)
        noisy = corrupt(labels, alpha_bar, num_classes, generator, self.embedding.scale)
        return self.read(noisy.y_t, alpha_bar)


class Unshared(nn.Module):
    """A denoiser that prepares the condition again at every call."""

    uses_state, bayes_skip, self_condition = True, False, 0.0

    def __init__(self, denoiser: TransformerDenoiser) -> None:
        super().__init__()
        self.denoiser, self.width = denoiser, denoiser.width
        self.heads = cast("Block", denoiser.blocks[0]).heads

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Return the condition unprepared."""
        return (condition,)

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        """See `Denoiser`."""
        out: Tensor = self.denoiser(h, t, self.denoiser.prepare(prepared[0]), layout)
        return out


class SideInputs(Unshared):
    """The same weights, with condition tokens in every block along with the label tokens.

    Another function, since a condition token then reads labels and time: compared in cost alone.
    """

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        """One chain for each image: R = 1."""
        denoiser, (condition,) = self.denoiser, prepared
        assert denoiser.time is not None and denoiser.position is not None
        time = nn.functional.silu(denoiser.time(t))
        x = torch.cat([h + denoiser.position, denoiser.condition(condition).unsqueeze(1)], 2)
        none = x.new_zeros(len(x), self.heads, 0, self.width // self.heads)
        for block in denoiser.blocks:
            x, _, _ = block(x, time, none, none, None)
        out: Tensor = denoiser.norm(x[:, :, : h.shape[2]])
        return out


@dataclass(frozen=True, slots=True)
class Captioner:
    """A network with the condition of a batch."""

    model: LabelDiffusion
    condition: Tensor
    generator: torch.Generator

    def first(self, images: int) -> Captioner:
        """The captioner of the first images."""
        return replace(self, condition=self.condition[:images])

    def steps(self, count: int) -> Iterator[ChainStep]:
        """A chain, or N passes of the autoregressive network."""
        process = self.model.process
        sampler: Any = Renoise()
        if isinstance(process, AutoregressiveProcess):
            sampler = LeftToRight()
        settings = ChainSettings(steps=count)
        return sample(self.model, self.condition, sampler, ArgMax(), settings, self.generator)

    @torch.inference_mode()
    def captions(self, count: int = STEPS) -> Tensor:
        """(B, N)."""
        *_, last = self.steps(count)
        return last.clean.ids[:, 0]


def rows(options: Options) -> Iterator[Row]:
    """Rows: dense over fast, their agreement, and autoregression over fast."""
    for size in (TINY,) if options.quick else SIZES:
        note(f"  {size.name}")
        yield from _rows(size, *((0.1, 64) if options.quick else (30.0, CHAINS)))


def network(size: Size, process: str = "gaussian") -> LabelDiffusion:
    """Draw every layer at random, those that start at zero too, so that answers differ."""
    problem = Problem(encoder_width=size.width, num_encoder_tokens=size.conditions)
    config = TransformerConfig.model_validate(
        {"width": size.width, "depth": size.depth, "heads": size.heads}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LabelDiffusion(
            conditioner=AllTokens(None, problem),
            embedding=PosteriorEmbedding(size.classes, size.width, 1.0, spread=0.5, largest=16)
            if process == "gaussian"
            else TokenEmbedding(size.classes, size.width, 1.0, spread=0.5),
            denoiser=TransformerDenoiser(config, size.width, size.tokens),
            schedule=LabelAccuracySchedule(LabelAccuracyConfig.model_validate({}), size.classes),
            loss=CrossEntropy(0.0),
            process=GaussianProcess() if process == "gaussian" else AutoregressiveProcess(None),
            num_classes=size.classes,
            num_tokens=size.tokens,
        )
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    return model.eval()


def _captioner(size: Size, model: LabelDiffusion) -> Captioner:
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(size.batch, size.conditions, size.width, generator=generator)
    return Captioner(model, condition, generator)


def _dense(fast: Captioner, denoiser: type[Unshared]) -> Captioner:
    """The same weights without the fast path."""
    model = deepcopy(fast.model)
    model.embedding = Dense(cast("PosteriorEmbedding", model.embedding))
    model.denoiser = denoiser(cast("TransformerDenoiser", model.denoiser))
    return replace(fast, model=model)


def _rows(size: Size, seconds: float, chains: int) -> Iterator[Row]:
    fast = _captioner(size, network(size))
    dense, side_inputs = _dense(fast, Unshared), _dense(fast, SideInputs)
    name = f"{size.name}, {STEPS} steps, dense noise"
    yield Row(
        name="caption-sampling",
        compares=f"{name}, condition prepared at every step / fast",
        values=ratios(alternate(dense.captions, fast.captions, seconds=seconds, fewest=3)),
        target=Target(8, at_least=True),
    )
    yield Row(
        name="caption-sampling",
        compares=f"{name}, condition tokens in every block / fast",
        values=ratios(alternate(side_inputs.captions, fast.captions, seconds=seconds, fewest=2)),
    )
    if size is not SIZES[0]:
        yield _agreement(size, dense, fast, chains)
    yield from _against_cache(size, fast, seconds / 3)


def _against_cache(size: Size, fast: Captioner, seconds: float) -> Iterator[Row]:
    """Autoregression over label diffusion: above 1, diffusion is the faster."""
    written = _captioner(size, network(size, "autoregressive"))
    for batch in (1, size.batch):
        one, other = written.first(batch), fast.first(batch)
        for steps in AGAINST_CACHE:
            pairs = alternate(one.captions, partial(other.captions, steps), seconds=seconds)
            yield Row(
                name="caption-sampling",
                compares=f"{size.name}, batch {batch}: autoregressive with cache / "
                f"{steps} step{'s' if steps > 1 else ''}",
                values=ratios(pairs),
            )


def _agreement(size: Size, dense: Captioner, fast: Captioner, chains: int) -> Row:
    """The largest Kolmogorov-Smirnov distance of the logits over its bound.

    Many chains of one image. The first step holds no noise, so its logits are equal; at each later
    step every projection reads one token.
    """
    both = [_projected(size, captioner, chains) for captioner in (dense, fast)]
    first, later = zip(*((x[:, 0], x[:, 1:]) for x in both), strict=True)
    distances = _distances(*(x.flatten(1) for x in later))
    tests = distances.numel()
    bound = math.sqrt(math.log(2 * tests / CHANCE) / chains)
    return Row(
        name="caption-sampling",
        compares=f"{size.name}: dense and fast, largest distance of logits / {CHANCE:.0%} bound",
        values=[float(distances.max()) / bound],
        target=Target(1.0),
        note=f"Kolmogorov-Smirnov, {chains} chains, {tests} tests, bound {bound:.3f}; "
        f"first logits differ by {float((first[0] - first[1]).abs().max()):.1e}",
    )


@torch.inference_mode()
def _projected(size: Size, captioner: Captioner, chains: int) -> Tensor:
    """Chains of one image -> (chains, LOOKS, PROJECTIONS)."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(PROJECTIONS, size.classes, generator=generator) / size.classes**0.5
    same = replace(captioner, condition=captioner.condition[:1].expand(size.batch, -1, -1))
    rounds = []
    for _ in range(chains // size.batch):
        seen = [step.logits[:, 0, :PROJECTIONS] for step in same.steps(LOOKS)]
        rounds.append(torch.stack([(logits * directions).sum(-1) for logits in seen], 1))
    return torch.cat(rounds)


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Two samples (n, columns) -> the largest gap of their distributions, (columns,)."""
    both = torch.cat([one, other])
    signs = torch.cat([torch.ones_like(one), -torch.ones_like(other)]) / len(one)
    order = both.argsort(0)
    return signs.gather(0, order).cumsum(0).abs().amax(0)
