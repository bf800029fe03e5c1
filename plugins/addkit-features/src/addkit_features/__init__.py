"""An encoder whose features are computed once and read from the disk in training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.errors import PluginError
from addkit.plugin import Choices, EncoderSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit_features.settings import FrozenFeaturesConfig

ADDKIT_API = 2
"""The version of addkit's plugin interface that this is written for."""


def _check(config: FrozenFeaturesConfig, choices: Choices) -> Iterable[str]:
    # Here, since settings load pydantic, which `addkit --help` has no need of.
    from addkit_features.settings import inner

    try:
        inner(config.of)
    except PluginError as error:
        yield f"of: {error}"


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """Yield the component of this package."""
    yield EncoderSpec(
        name="frozen-features",
        config="addkit_features.settings:FrozenFeaturesConfig",
        build="addkit_features.encoder:FrozenFeatures",
        # A recipe check cannot build E; the conditioner checks for a class token when it is built.
        provides=frozenset({"class-token", "features"}),
        check=_check,
        summary="Another encoder's features, computed once and cached.",
    )
