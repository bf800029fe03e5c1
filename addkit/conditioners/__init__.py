"""Conditioners: the condition c that the denoiser reads, picked from the encoder's tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from addkit.plugin.spec import Choices, ConditionerSpec, components

if TYPE_CHECKING:
    from addkit.conditioners.settings import ConditionerConfig


def _needs_class_token(config: ConditionerConfig, choices: Choices) -> Iterable[str]:
    # By ability: a plugin's encoder may have a class token too.
    if "class-token" not in choices["encoder"].spec.provides:
        yield (
            f'[encoder] "{choices["encoder"].name}" has no class token; '
            'use the conditioner "mean-token" or "all-tokens", or the encoder "vit"'
        )


addkit_components = components(
    ConditionerSpec(
        "class-token",
        ".settings:ClassTokenConfig",
        ".tokens:ClassToken",
        "The encoder's class token (paper).",
        provides=frozenset({"one-token"}),
        check=_needs_class_token,
    ),
    ConditionerSpec(
        "class-tokens",
        ".settings:ClassTokensConfig",
        ".tokens:ClassTokens",
        "All of the encoder's class tokens (figure 2b).",
        check=_needs_class_token,
    ),
    ConditionerSpec(
        "mean-token",
        ".settings:MeanTokenConfig",
        ".tokens:MeanToken",
        "The mean of the encoder's patch tokens (paper).",
        provides=frozenset({"one-token"}),
    ),
    ConditionerSpec(
        "all-tokens", ".settings:AllTokensConfig", ".tokens:AllTokens", "Every encoder token."
    ),
)
