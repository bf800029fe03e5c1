"""The base class of settings. The one module of `addkit.plugin` that imports pydantic (0.1 s)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from addkit.plugin.values import EncoderInput

# Bounds that settings share: beyond them a number is a slip, which no machine holds or float32
# cannot compute with.
Count = Annotated[int, Field(ge=1, le=10**9)]
CountOrZero = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
ImageSize = Annotated[int, Field(ge=4, le=4096)]
Width = Annotated[int, Field(ge=8, le=2**16)]
Depth = Annotated[int, Field(ge=1, le=1000)]
Steps = Annotated[int, Field(ge=1, le=100_000)]
Chains = Annotated[int, Field(ge=1, le=4096)]
Guidance = Annotated[float, Field(ge=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Chance = Annotated[float, Field(ge=0, lt=1)]
TestShare = Annotated[float, Field(ge=1e-6, lt=1)]
Factor = Annotated[float, Field(ge=1e-6, le=1e6)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Channels = Annotated[tuple[Number, ...], Field(max_length=3)]
Deviations = Annotated[tuple[Factor, ...], Field(max_length=3)]
Names = Annotated[tuple[str, ...], Field(max_length=10_000)]

_NO_WEIGHTS: Mapping[str, Any] = {"pretrained": False, "weights": None}


class Config(BaseModel):
    """Base of every component's settings: an unknown key is an error, and values never change."""

    # Frozen, since a run stores its settings: a component that changed them would make the stored
    # recipe untrue. Neither NaN nor infinity passes a comparison with a bound as its author means.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def can_be_opened(cls, value: Any) -> Any:
        """No text has a null character, and a path is neither too long nor a device or a pipe."""
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str | Path) and "\0" in str(text):
                raise ValueError("a null character")
            if isinstance(text, Path) and any(len(os.fsencode(part)) > 255 for part in text.parts):
                raise ValueError("a name of more than 255 bytes")
            # Reading a device may never end.
            if isinstance(text, Path) and text.exists() and not (text.is_file() or text.is_dir()):
                raise ValueError("a device or a pipe")
        return value

    def expected_input(self) -> EncoderInput | None:
        """The input that the first weights of an encoder expect; None: any. Settings of the data
        that a recipe leaves unset follow it. Override it in an encoder with pretrained weights.
        """
        return None

    def fetch_weights(self) -> None:
        """Download the first weights, unless they are here. Called before a run is made; override
        it in a component that loads pretrained weights. Raises `RecipeError` if it fails.
        """

    def from_scratch(self) -> Self:
        """The same settings without pretrained weights, which a trained run no longer needs.

        Resets the keys `pretrained` and `weights`; override it for others.
        """
        # Building a network for a run's own weights must not download pretrained ones first.
        fields = type(self).model_fields
        return self.model_copy(update={k: v for k, v in _NO_WEIGHTS.items() if k in fields})
