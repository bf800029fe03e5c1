"""Denoisers: the network f(y_t, t, c) between the embedded label and the output layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Choices, DenoiserSpec, Spec, hookimpl


def _one_condition_token(config: Any, choices: Choices) -> Iterable[str]:
    conditioner = choices["conditioner"]
    # By ability: a plugin's conditioner counts as one with many tokens unless its Spec provides it.
    if "one-token" not in conditioner.spec.provides:
        why = ' (its Spec does not provide "one-token")' if conditioner.plugin else ""
        yield (
            f'[conditioner] "{conditioner.name}" gives many tokens{why}, and this denoiser reads '
            'one; use the denoiser "transformer" or the conditioner "mean-token"'
        )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in denoisers."""
    yield DenoiserSpec(
        name="transformer",
        config="addkit.denoisers.settings:TransformerConfig",
        build="addkit.denoisers.transformer:TransformerDenoiser",
        provides=frozenset({"reads-state", "joint"}),
        summary="Self-attention over labels and a prepared condition.",
    )
    yield DenoiserSpec(
        name="mlp",
        config="addkit.denoisers.settings:MlpConfig",
        build="addkit.denoisers.mlp:MlpDenoiser",
        provides=frozenset({"reads-state"}),
        check=_one_condition_token,
        summary="adaLN MLP; the fastest for one label.",
    )
    yield DenoiserSpec(
        name="control",
        config="addkit.denoisers.settings:ControlConfig",
        build="addkit.denoisers.control:Control",
        check=_one_condition_token,
        summary="A classifier head that ignores the state.",
    )
