"""Ablations: the effect of one choice over several seeds, everything else unchanged."""

from __future__ import annotations

from addkit.ablation.ablate import AblationPlan, ablate, plan
from addkit.ablation.arms import Arm, Axis, arms_of, combinations
from addkit.ablation.results import ABLATIONS, AblationResult, ArmRow, BaseRow, Store, compare

__all__ = ["ABLATIONS", "AblationPlan", "AblationResult", "Arm", "ArmRow", "Axis", "BaseRow"]
__all__ += ["Store", "ablate", "arms_of", "combinations", "compare", "plan"]
