"""A sentence as a side input: a conditioner that reads it, and data sets that have it."""

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
        name="text",
        config="addkit_text.settings:TextConfig",
        build="addkit_text.conditioner:Text",
        provides=frozenset({"side-inputs"}),
        summary="A sentence as a side input, read by a CLIP text tower.",
    )
    yield DataSpec(
        name="table-text",
        config="addkit_text.settings:TableTextConfig",
        build="addkit_text.table:TableText",
        summary="A CSV file of sentences and labels, images optional.",
    )
    yield DataSpec(
        name="emoji-sentences",
        config="addkit_text.settings:EmojiSentencesConfig",
        build="addkit_text.emoji:EmojiSentences",
        summary="Emoji with their names as sentences; comes with addkit.",
    )
