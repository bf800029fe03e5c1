"""From images to answers as one traced graph, with all steps of the chains unrolled."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from addkit.errors import PluginError, UsageError
from addkit.export.noise_free import DrawsNoiseError, NoDraws, NoiseFree
from addkit.model import Inference, Predictor
from addkit.plugin import load_registry
from addkit.plugin.values import Answer, DataFacts

MOST_IMAGES = 2**20
"""Of a batch."""

Convert: TypeAlias = "Callable[[ExportedProgram], Any]"
"""From the traced graph to a file's content."""


def output_names(facts: DataFacts) -> tuple[str, ...]:
    """Names of the outputs, in order: see `outputs`."""
    if facts.pad is not None:
        return ("ids", "confidence")
    if facts.token_names:
        return ("ids", "confidence", "probabilities")
    return ("probabilities",)


def outputs(answer: Answer, facts: DataFacts) -> tuple[Tensor, ...]:
    """What a graph returns of an answer.

    One label: probabilities (B, K). Several: ids (B, N), the probability that its chain gave each,
    (B, N), and for attributes the marginals (B, N, K). For captions the ids end at the first pad.
    """
    if facts.pad is not None:
        return answer.candidates[:, 0], answer.confidence[:, 0]
    if facts.token_names:
        return answer.labels, answer.confidence[:, 0], answer.probabilities
    return (answer.probabilities[:, 0],)


class Graph(nn.Module):
    """A run's network and inference as one module.

    Args:
        predictor: the run's.
        inference: settings of the answers.
        half: compute the encoder in float16.
    """

    def __init__(self, predictor: Predictor, inference: Inference, *, half: bool) -> None:
        super().__init__()
        self.facts, self.inference, self.half_encoder = predictor.facts, inference, half
        # A copy where it is changed: the predictor goes on answering in fp32.
        encoder = predictor.network.encoder
        self.encoder = copy.deepcopy(encoder).half() if half else encoder
        self.diffusion = NoiseFree.of(predictor.network.diffusion)
        # Draws nothing; chains ask for its device.
        self.generator = torch.Generator()
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, channels, size, size) -> `outputs`, by name."""
        tokens = self.encoder(images.half()).float() if self.half_encoder else self.encoder(images)
        condition = self.diffusion.condition(tokens)  # (B, C, V)
        answer = self.inference.read(self.diffusion, condition, self.generator)
        return dict(zip(output_names(self.facts), outputs(answer, self.facts), strict=True))


def example_images(facts: DataFacts) -> Tensor:
    """Two images: a batch of one would be taken for a constant."""
    shape = (2, facts.image_channels, facts.image_size, facts.image_size)
    return torch.linspace(-1.0, 1.0, 2 * shape[1] * shape[2] * shape[3]).view(shape)


def check_graph(predictor: Predictor, inference: Inference) -> None:
    """Raise `UsageError` where answers need random numbers or side inputs; names what does not."""
    if predictor.network.diffusion.reads_side_inputs:
        name, columns = predictor.recipe.choices["conditioner"].name, predictor.facts.columns
        raise UsageError(
            f'the conditioner "{name}" reads side inputs '
            f"({', '.join(column.name for column in columns)}), and an exported file reads images "
            "alone"
        )
    if _draws(predictor, inference):
        others = ", or ".join(_drawing_nothing(predictor, inference))
        raise UsageError(
            f'the sampler "{inference.sampler.name}" with {inference.steps} steps, '
            f'to-one "{inference.to_one_name}" and read-out "{inference.read_out.name}" draws '
            f"random numbers, and an exported file draws none"
            + (f"; these draw none: {others}" if others else "")
        )


def _draws(predictor: Predictor, inference: Inference) -> bool:
    graph = Graph(predictor, inference, half=False)
    try:
        with torch.no_grad(), NoDraws():
            graph(example_images(predictor.facts))
    except DrawsNoiseError:
        return True
    return False


def _drawing_nothing(predictor: Predictor, inference: Inference) -> Iterator[str]:
    """Options that change the inference into one that draws nothing."""
    registry = load_registry()
    options = [
        *(("read_out", n) for n in registry.names("read_out")
          if "one-pass" in registry.get("read_out", n).spec.provides),
        *(("sampler", name) for name in registry.names("sampler")),
    ]  # fmt: skip
    for kind, name in options:
        try:
            if not _draws(predictor, inference.replace(**{kind: name})):
                yield f"--{kind.replace('_', '-')} {name}"
        except UsageError:
            continue  # it does not fit the process


def converted(graph: Graph, predictor: Predictor, convert: Convert) -> Any:
    """The graph, traced and converted. Raises `PluginError` that names the component which cannot
    be traced or converted.
    """
    images = example_images(graph.facts)
    try:
        return convert(traced(graph, images))
    # The exporters raise nearly anything on what they do not support.
    except Exception as error:
        choices = predictor.recipe.choices
        for kind, module, arguments in _parts(graph, images):
            try:
                convert(traced(module, *arguments))
            except Exception as cause:
                raise _refusal(kind, choices[kind].name, cause) from error
        inference = graph.inference
        raise _refusal("sampler", inference.sampler.name, error) from error


def _refusal(kind: str, name: str, cause: Exception) -> PluginError:
    # The exporters write paragraphs, with colours; the last exception's first line is the reason.
    lines = [re.sub(r"\x1b?\[\d+m", "", line).strip() for line in str(cause).splitlines()]
    reasons = [line for line in lines if line.startswith("<class")] or lines or [""]
    return PluginError(
        f'the {kind} "{name}" cannot be exported: {type(cause).__name__}: {reasons[0][:300]}'
    )


def traced(module: nn.Module, *arguments: Tensor) -> ExportedProgram:
    """The module's graph for any number of images."""
    batch = Dim("batch", max=MOST_IMAGES)
    # Tensors of one image are shared by all.
    shapes = tuple({0: batch} if argument.shape[0] == 2 else None for argument in arguments)
    with torch.no_grad(), warnings.catch_warnings():
        # Deprecations within torch.
        warnings.simplefilter("ignore")
        # The specification follows the signature: `*arguments` is one argument.
        spec = (shapes,) if isinstance(module, _Part) else shapes
        return torch.export.export(module, arguments, dynamic_shapes=spec, strict=False)


class _Part(nn.Module):
    """One component of a graph, called by a function."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *arguments: Tensor) -> Any:
        return self.function(*arguments)


@torch.no_grad()
def _parts(graph: Graph, images: Tensor) -> Iterator[tuple[str, nn.Module, tuple[Tensor, ...]]]:
    """Each component that a graph calls, with arguments for it, in the order of the calls."""
    diffusion = graph.diffusion
    images = images.half() if graph.half_encoder else images
    yield "encoder", _Part(graph.encoder, graph.encoder), (images,)
    tokens = graph.encoder(images).float()
    yield "conditioner", _Part(diffusion, diffusion.condition), (tokens,)
    condition = diffusion.condition(tokens)
    facts, t = graph.facts, torch.ones(1, 1, 1)
    h = torch.zeros(2, 1, facts.num_tokens, 0)
    if diffusion.embedding is not None:
        y_t = torch.zeros(2, 1, facts.num_tokens, facts.num_classes)
        yield "embedding", _Part(diffusion, diffusion.embedding.read), (y_t, 1 - t)
        h = diffusion.embedding.read(y_t, 1 - t).expand(2, 1, facts.num_tokens, -1).contiguous()

    def denoise(h: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return diffusion.denoiser(h, t, diffusion.denoiser.prepare(condition))

    yield "denoiser", _Part(diffusion, denoise), (h, t, condition)
