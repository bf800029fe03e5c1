"""From re-noising (kappa = 0) to the true posterior (kappa = 1)."""

from __future__ import annotations

from torch import Tensor

from addkit.samplers.shared import SharedTime


class KappaSampler(SharedTime):
    r"""r = kappa m_t / m_s.

    With kappa = 1 the step's carried part is sqrt(a)(1 - abar_s)/sqrt(1 - abar_t) eps_hat with
    a = abar_t / abar_s, the posterior mean's coefficient (Ho et al. 2020, equation 7), and its
    fresh part has the posterior's variance.

    Args:
        kappa: in [0, 1].
        draws: draw the clean label from the prediction (Gibbs).
    """

    def __init__(self, kappa: float, *, draws: bool = False) -> None:
        self.kappa, self.draws = kappa, draws
        self.carries_state = kappa > 0

    def carry(self, m_t: Tensor, m_s: Tensor) -> Tensor:
        """r, in [0, 1]."""
        return self.kappa * (m_t / m_s.clamp_min(1e-12)).clamp(max=1.0)
