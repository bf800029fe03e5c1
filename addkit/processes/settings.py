"""Settings of the built-in processes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from addkit.plugin.config import Config, Count


class GaussianConfig(Config):
    """Gaussian noise on the one-hot label, the paper's."""


class MaskedConfig(Config):
    """Absorbing ("masked") diffusion, the paper's PDD: each token is clean or a mask."""

    weight: Literal["none", "1/t"] = Field(
        "none",
        description="Plain cross-entropy on masked tokens (MaskGIT, LLaDA's code), or MDLM's 1/t.",
    )


class AutoregressiveConfig(Config):
    """Each token from those before it, in order."""


class BlocksConfig(Config):
    """Blocks from left to right, Gaussian noise within one; a block of 1 is autoregression."""

    block: Count = Field(4, description="Tokens that are denoised together.")
