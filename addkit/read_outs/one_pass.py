"""p(k | image) in one pass."""

from __future__ import annotations

from typing import Literal

from addkit.read_outs.last import Last


class OnePass(Last):
    """p(k | y_T = 0, t = T, c).

    At t = T the exact denoiser is the classifier p(k | image), and no loop over one label can beat
    it; y_T = 0 spares it the noise of the first state.
    """

    start: Literal["noise", "zero"] = "zero"
    # More steps would leave t = T, where the answer is the classifier's.
    max_steps: int | None = 1
