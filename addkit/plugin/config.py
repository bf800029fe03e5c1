"""The base class of settings. The one module of `addkit.plugin` that imports pydantic (0.1 s)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

_NO_WEIGHTS: Mapping[str, Any] = {"pretrained": False, "weights": None}


class Config(BaseModel):
    """Base of every component's settings: an unknown key is an error, and values never change."""

    # Frozen, since a run stores its settings: a component that changed them would make the stored
    # recipe untrue. Neither NaN nor infinity passes a comparison with a bound as its author means.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def from_scratch(self) -> Self:
        """The same settings without pretrained weights, which a trained run no longer needs.

        Resets the keys `pretrained` and `weights`; override it for others.
        """
        # Building a network for a run's own weights must not download pretrained ones first.
        fields = type(self).model_fields
        return self.model_copy(update={k: v for k, v in _NO_WEIGHTS.items() if k in fields})
