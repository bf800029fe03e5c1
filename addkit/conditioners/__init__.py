"""Conditioners: the condition c that the denoiser reads, picked from the encoder's tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from addkit.plugin.spec import Choices, ConditionerSpec, Config, Spec, hookimpl

__all__ = ["AllTokensConfig", "ClassTokenConfig", "MeanTokenConfig"]


class ConditionerConfig(Config):
    """What every built-in conditioner has."""

    width: int | None = Field(
        None, ge=8, description="Project the condition to this width; absent: the encoder's."
    )


class ClassTokenConfig(ConditionerConfig):
    """c = z_cls, the encoder's class token after its last layer (section 3.3)."""


class MeanTokenConfig(ConditionerConfig):
    """c = mean(z_1, ..., z_L), the average of the encoder's other tokens (section 3.3)."""


class AllTokensConfig(ConditionerConfig):
    """Every encoder token."""


def _needs_class_token(config: ClassTokenConfig, choices: Choices) -> Iterable[str]:
    if "class-token" not in choices["encoder"].spec.provides:
        yield (
            f'[encoder] "{choices["encoder"].name}" has no class token; '
            'use the conditioner "mean-token" or "all-tokens", or the encoder "vit"'
        )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in conditioners."""
    yield ConditionerSpec(
        name="class-token",
        config=ClassTokenConfig,
        build="addkit.conditioners.tokens:ClassToken",
        provides=frozenset({"one-token"}),
        check=_needs_class_token,
        summary="The encoder's class token (paper).",
    )
    yield ConditionerSpec(
        name="mean-token",
        config=MeanTokenConfig,
        build="addkit.conditioners.tokens:MeanToken",
        provides=frozenset({"one-token"}),
        summary="The mean of the encoder's patch tokens (paper).",
    )
    yield ConditionerSpec(
        name="all-tokens",
        config=AllTokensConfig,
        build="addkit.conditioners.tokens:AllTokens",
        summary="Every encoder token.",
    )
