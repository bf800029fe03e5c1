"""Settings of the built-in embeddings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from addkit.plugin.config import Config, Factor


class LinearConfig(Config):
    """h = W y_t, the paper's. Loses the label where the width is far below K."""


class PosteriorConfig(Config):
    """h = softmax(c_t y_t) E, the posterior-mean embedding under a uniform prior."""

    spread: Factor = Field(0.5, description="Standard deviation of the rows of E at the start.")
    largest: Annotated[int, Field(ge=1, le=4096)] = Field(
        16,
        description="Wrong classes that the fast draw draws exactly; the rest by moments. "
        "Up to 512 classes, or 8 * largest, the draw is plain.",
    )


class TokenConfig(Config):
    """h = E[y] for a clean token, a learned mask for a masked one; no noise in between."""

    spread: Factor = Field(0.5, description="Standard deviation of the rows of E at the start.")
