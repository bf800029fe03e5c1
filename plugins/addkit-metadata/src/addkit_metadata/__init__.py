"""Numbers and categories as side inputs: a conditioner that reads them, and data that has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin import ConditionerSpec, DataSpec, Spec, hookimpl

ADDKIT_API = 2
"""The version of addkit's plugin interface that this is written for."""


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """Yield the components of this package."""
    yield ConditionerSpec(
        name="metadata",
        config="addkit_metadata.settings:MetadataConfig",
        build="addkit_metadata.conditioner:Metadata",
        provides=frozenset({"side-inputs"}),
        summary="Numbers and categories as side inputs, missing ones too.",
    )
    yield DataSpec(
        name="image-table",
        config="addkit_metadata.settings:ImageTableConfig",
        build="addkit_metadata.table:ImageTable",
        summary="Your images in a CSV file, with columns of side inputs.",
    )
    yield DataSpec(
        name="emoji-columns",
        config="addkit_metadata.settings:EmojiColumnsConfig",
        build="addkit_metadata.emoji:EmojiColumns",
        summary="Emoji with gender, tone and length of name; comes with addkit.",
    )
