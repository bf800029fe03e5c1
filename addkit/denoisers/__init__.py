"""Denoisers: the network f(y_t, t, c) between the embedded label and the output layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Choices, DenoiserSpec, components


def _one_condition_token(config: Any, choices: Choices) -> Iterable[str]:
    conditioner = choices["conditioner"]
    # By ability: a plugin's conditioner counts as one with many tokens unless its Spec provides it.
    if "one-token" not in conditioner.spec.provides:
        why = ' (its Spec does not provide "one-token")' if conditioner.plugin else ""
        yield (
            f'[conditioner] "{conditioner.name}" gives many tokens{why}, and this denoiser reads '
            'one; use the denoiser "transformer" or the conditioner "mean-token"'
        )


addkit_components = components(
    DenoiserSpec(
        "transformer",
        ".settings:TransformerConfig",
        ".transformer:TransformerDenoiser",
        "Self-attention over labels and a prepared condition.",
        provides=frozenset({"reads-state", "joint"}),
    ),
    DenoiserSpec(
        "mlp",
        ".settings:MlpConfig",
        ".mlp:MlpDenoiser",
        "adaLN MLP; the fastest for one label.",
        provides=frozenset({"reads-state"}),
        check=_one_condition_token,
    ),
    DenoiserSpec(
        "linear",
        ".settings:LinearConfig",
        ".linear:LinearDenoiser",
        "Linear in the condition; best for one label and few images.",
        provides=frozenset({"reads-state"}),
        check=_one_condition_token,
    ),
    DenoiserSpec(
        "control",
        ".settings:ControlConfig",
        ".control:Control",
        "A classifier head that ignores the state.",
        check=_one_condition_token,
    ),
)
