"""Ablations: what one choice does, over seeds, beside everything else unchanged."""

from __future__ import annotations

from addkit.ablation.ablate import AblationPlan, AblationResult, ablate, plan
from addkit.ablation.arms import Arm, arms_of
from addkit.ablation.axes import Axis, combinations
from addkit.ablation.compare import compare
from addkit.ablation.store import ABLATIONS, Store

__all__ = [
    "ABLATIONS",
    "AblationPlan",
    "AblationResult",
    "Arm",
    "Axis",
    "Store",
    "ablate",
    "arms_of",
    "combinations",
    "compare",
    "plan",
]
