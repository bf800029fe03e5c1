"""DDIM with the noise level eta."""

from __future__ import annotations

from torch import Tensor

from addkit.samplers.shared import SharedTime


class DdimSampler(SharedTime):
    r"""r = sqrt(1 - eta^2 (1 - m_t^2 / m_s^2)).

    sigma^2 = eta^2 (1 - abar_s)(1 - m_t^2 / m_s^2) is the usual eta (Song et al. 2021, equation
    16) written in signal-to-noise, and r^2 = 1 - sigma^2 / (1 - abar_s).
    """

    carries_state = True

    def __init__(self, eta: float) -> None:
        self.eta = eta

    def carry(self, m_t: Tensor, m_s: Tensor) -> Tensor:
        """r, in [0, 1]."""
        share = (m_t / m_s.clamp_min(1e-12)).clamp(max=1.0).square()
        return (1 - self.eta**2 * (1 - share)).sqrt()
