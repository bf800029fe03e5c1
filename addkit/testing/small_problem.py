"""What a component is tried on: its settings, a small problem, and inputs that never change."""

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
"""Of the small problem, where an `Example` says nothing else."""

SEVERAL: dict[str, Any] = {"num_tokens": 3, "num_condition_tokens": 4}
"""And of components that work on several tokens."""


class LawBrokenError(AssertionError):
    """A component breaks a law of its kind; the text says by how much."""


class SkippedError(unittest.SkipTest):
    """A law cannot be looked at here; the text says why. pytest takes it for a skip."""


class NotHereError(SkippedError):
    """Settings, data or a package that the component needs are not at hand."""


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
        """Of the component."""
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
        several = SEVERAL if self._has_several_tokens else {}
        return Problem(**{**FACTS, **several, **self.example.facts})

    @property
    def _has_several_tokens(self) -> bool:
        return self.kind == "process" or "joint" in self.provides

    def build(self, seed: int = 0) -> Any:
        """The component with initial weights that follow from the seed, in evaluation mode."""
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                built = self.provided.spec.create(config, self.problem)
            except (DataError, FileNotFoundError) as error:
                raise NotHereError(f"its data is not here: {error}") from None
            except PluginError as error:
                # Of a third party it may be any failure of its builder.
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
        """Normals, always the same."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def need(holds: bool, text: str) -> None:
    """Raise `LawBrokenError` with the text unless it holds."""
    if not holds:
        raise LawBrokenError(text)


def shaped(what: str, found: Any, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    """A tensor of this shape, and finite if it is of numbers."""
    need(isinstance(found, Tensor), f"{what} is {type(found).__name__}, not a tensor")
    need(tuple(found.shape) == shape, f"{what} has shape {tuple(found.shape)}, not {shape}")
    if dtype is not None:
        need(found.dtype == dtype, f"{what} is {found.dtype}, not {dtype}")
    if found.is_floating_point():
        bad = int((~found.isfinite()).sum())
        need(bad == 0, f"{bad} of {found.numel()} values of {what} are not finite")


def close(what: str, found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    """Equal up to rounding, relative to the largest value."""
    apart = float((found - wanted).abs().max()) if found.numel() else 0.0
    most = tolerance * max(1.0, float(wanted.abs().max()) if wanted.numel() else 0.0)
    need(apart <= most, f"{what}: {apart:.3g} apart, at most {most:.1g} is rounding")


_ATTRIBUTES = {
    "num_tokens": 2,
    "token_names": ("animal", "size"),
    "token_classes": ((0, 4), (4, 7)),
}

_SMALL_VIT = {"patch_size": 4, "width": 24, "depth": 1, "heads": 2}


def example_of(kind: str, name: str, distribution: str) -> Example:
    """The kit's own for a built-in; defaults for everybody else."""
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
    ("data", "emoji"): Example(settings={"image_size": 16}, facts=_tokenizer()),
    ("data", "emoji-attributes"): Example(settings={"image_size": 16}),
    ("data", "caption-folder"): Example(facts=_tokenizer()),
    ("data", "coco-captions"): Example(facts=_tokenizer()),
}
