"""Settings of the built-in tasks: the keys of their tables in a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from addkit.plugin.config import Config, Count, Share, Weight


class ClassificationConfig(Config):
    """One label for each image (N = 1)."""


class CaptioningConfig(Config):
    """A caption of up to N tokens."""

    pad: Literal["diffuse", "mask"] = Field(
        "diffuse",
        description="Pads are diffused like words, and a caption ends at the first; or the network "
        "does not see them, and a length is given or predicted.",
    )
    pad_weight: Weight = Field(
        0.2, description="Weight in the loss of pads behind the end, where they are diffused."
    )
    length_candidates: Count = Field(
        3, description="Most probable lengths that several chains try, where pads are masked."
    )


class AttributesConfig(Config):
    """Several dependent labels, each with its own classes."""


class TagsConfig(Config):
    """Which of several tags an image has."""

    # Above 0 answers have more rare tags than images have: it raises recall, not subset accuracy.
    positive_weight: Share = Field(
        0.0,
        description="gamma: a present tag of which a share p of the training images has weight "
        "((1 - p) / p)^gamma, an absent one 1.",
    )
