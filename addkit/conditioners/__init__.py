"""Conditioners: the condition c that the denoiser reads, picked from the encoder's tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from addkit.plugin.spec import Choices, ConditionerSpec, Config, Problem, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Conditioner

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


def _class_token(config: ClassTokenConfig, problem: Problem) -> Conditioner:
    from addkit.conditioners.tokens import ClassToken

    return ClassToken(config.width, problem)


def _mean_token(config: MeanTokenConfig, problem: Problem) -> Conditioner:
    from addkit.conditioners.tokens import MeanToken

    return MeanToken(config.width, problem)


def _all_tokens(config: AllTokensConfig, problem: Problem) -> Conditioner:
    from addkit.conditioners.tokens import AllTokens

    return AllTokens(config.width, problem)


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
        build=_class_token,
        provides=frozenset({"one-token"}),
        check=_needs_class_token,
        summary="The encoder's class token (paper).",
    )
    yield ConditionerSpec(
        name="mean-token",
        config=MeanTokenConfig,
        build=_mean_token,
        provides=frozenset({"one-token"}),
        summary="The mean of the encoder's patch tokens (paper).",
    )
    yield ConditionerSpec(
        name="all-tokens",
        config=AllTokensConfig,
        build=_all_tokens,
        summary="Every encoder token.",
    )
