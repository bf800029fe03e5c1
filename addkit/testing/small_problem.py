"""The small problem on which components are checked: settings, facts and fixed inputs."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from addkit.errors import DataError, PluginError
from addkit.plugin import Problem, Provided
from addkit.recipe.validation import validated

IMAGES, COPIES = 3, 2
"""B and R of the inputs; different, so that no axis is taken for another."""

FACTS: dict[str, Any] = {
    "num_classes": 7,
    "class_names": tuple("abcdefg"),
    "image_size": 16,
    "mean_alpha_bar": 0.5,
    "encoder_width": 24,
    "num_encoder_tokens": 5,
    "num_prefix_tokens": 1,
    "condition_width": 16,
    "num_condition_tokens": 1,
    "state_width": 12,
}
"""Facts of the small problem; an `Example` can replace them."""

SEVERAL: dict[str, Any] = {"num_tokens": 3, "num_condition_tokens": 4}
"""Facts for components that work on several tokens."""


class LawBrokenError(AssertionError):
    """A component breaks a law of its kind; the text says by how much."""


class SkippedError(unittest.SkipTest):
    """A law cannot be checked here, for the reason in the text. pytest counts it as skipped."""


class NotHereError(SkippedError):
    """Settings, data or a package that the component needs are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """How to try a component."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Keys of its table; the others have their defaults."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of `Problem`, in place of the kit's own."""
    levels: tuple[float, ...] = (0.0, 0.1, 0.5, 0.9)
    """alpha_bar at which an embedding is tried."""


Law: TypeAlias = "Callable[[Bench], None]"
"""Raises `LawBrokenError` or `SkippedError`. The first line of its docstring is the law."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A component on its small problem."""

    provided: Provided
    example: Example = field(default_factory=Example)

    @property
    def kind(self) -> str:
        """The component's kind."""
        return self.provided.spec.kind

    @property
    def provides(self) -> frozenset[str]:
        """The component's abilities."""
        return self.provided.spec.provides

    @property
    def config(self) -> Any:
        """The checked settings. Raises `NotHereError` where a key must be given and is not."""
        try:
            return validated(self.provided.spec.settings, self.example.settings)
        except ValidationError as error:
            missing = [str(one["loc"][0]) for one in error.errors() if one["type"] == "missing"]
            if len(missing) == error.error_count():
                raise NotHereError(f"needs settings: {', '.join(missing)}") from None
            raise LawBrokenError(f"its settings are refused: {error}") from None

    @property
    def problem(self) -> Problem:
        """The facts."""
        # Others get one token, which every component must take.
        needs_several = self.kind == "process" or "joint" in self.provides
        return Problem(**{**FACTS, **(SEVERAL if needs_several else {}), **self.example.facts})

    def build(self, seed: int = 0) -> Any:
        """The component with initial weights that follow from the seed, in evaluation mode."""
        config = self.config
        # Forked, so that building leaves the caller's random numbers alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                built = self.provided.spec.create(config, self.problem)
            except (DataError, FileNotFoundError) as error:
                raise NotHereError(f"its data is not here: {error}") from None
            except PluginError as error:
                # A third party's may be any failure of its builder, which is no missing package.
                if self.provided.is_third_partys:
                    raise
                raise NotHereError(str(error)) from None
        return built.eval() if isinstance(built, nn.Module) else built

    def labels(self) -> Tensor:
        """(B, R, N), every class in turn."""
        shape = (IMAGES, COPIES, self.problem.num_tokens)
        count = IMAGES * COPIES * self.problem.num_tokens
        return (torch.arange(count) % self.problem.num_classes).view(shape)

    def normal(self, *shape: int, seed: int = 1) -> Tensor:
        """Standard normal numbers, the same at each call with one seed."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def need(holds: bool, text: str) -> None:
    """Raise `LawBrokenError` with the text unless it holds."""
    if not holds:
        raise LawBrokenError(text)


def shaped(what: str, found: Any, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    """Check a tensor's shape and dtype, and that its floating-point values are finite."""
    need(isinstance(found, Tensor), f"{what} is {type(found).__name__}, not a tensor")
    need(tuple(found.shape) == shape, f"{what} has shape {tuple(found.shape)}, not {shape}")
    if dtype is not None:
        need(found.dtype == dtype, f"{what} is {found.dtype}, not {dtype}")
    if found.is_floating_point():
        bad = int((~found.isfinite()).sum())
        need(bad == 0, f"{bad} of {found.numel()} values of {what} are not finite")


def close(what: str, found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    """Check that two tensors are equal up to rounding, relative to the largest value."""
    apart = float((found - wanted).abs().max()) if found.numel() else 0.0
    most = tolerance * max(1.0, float(wanted.abs().max()) if wanted.numel() else 0.0)
    need(apart <= most, f"{what}: {apart:.3g} apart, at most {most:.1g} is rounding")


_ATTRIBUTES = {
    "num_tokens": 2,
    "token_names": ("animal", "size"),
    "token_classes": ((0, 4), (4, 7)),
}

_TAGS = {
    "num_classes": 2,
    "num_tokens": 3,
    "class_names": ("no", "yes"),
    "token_names": ("dog", "grass", "ball"),
    "token_classes": ((0, 2),) * 3,
    "tag_shares": (0.5, 0.25, 0.125),
}

# One block of width 24: a law builds a component several times.
_SMALL_VIT = {"patch_size": 4, "width": 24, "depth": 1, "heads": 2}


def example_of(kind: str, name: str, distribution: str) -> Example:
    """The example of a built-in component; for others the defaults."""
    return _BUILT_INS.get((kind, name), Example()) if distribution == "addkit" else Example()


def _captions() -> dict[str, object]:
    from addkit.tokenizers.settings import WordsConfig
    from addkit.tokenizers.words import Words

    names = ("<pad>", "<unk>", *"abcde")
    words = Words(WordsConfig.model_validate({}))
    return {"num_tokens": 3, "pad": 0, "unknown": 1, "class_names": names, "tokenizer": words}


def _tokenizer() -> dict[str, object]:
    return {"tokenizer": _captions()["tokenizer"]}


_BUILT_INS = {
    ("encoder", "vit"): Example(settings=_SMALL_VIT),
    ("encoder", "timm"): Example(settings={"model": "test_resnet"}, facts={"image_size": 64}),
    ("encoder", "cnn"): Example(settings={"widths": [8, 16]}),
    ("denoiser", "transformer"): Example(settings={"width": 16, "depth": 1, "heads": 2}),
    ("denoiser", "mlp"): Example(settings={"width": 16}),
    ("denoiser", "control"): Example(settings={"head": "mlp", "width": 16}),
    # Wide enough to keep the label, or it warns.
    ("embedding", "token"): Example(levels=(0.0, 1.0)),
    ("task", "captioning"): Example(facts=_captions()),
    ("task", "attributes"): Example(facts={**_ATTRIBUTES}),
    ("task", "tags"): Example(facts={**_TAGS}),
    ("loss", "asymmetric"): Example(facts={**_TAGS}),
    ("data", "emoji-tags"): Example(settings={"image_size": 16}),
    ("data", "emoji"): Example(settings={"image_size": 16}, facts=_tokenizer()),
    ("data", "emoji-attributes"): Example(settings={"image_size": 16}),
    ("data", "caption-folder"): Example(facts=_tokenizer()),
    ("data", "coco-captions"): Example(facts=_tokenizer()),
}
