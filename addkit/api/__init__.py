"""What Python users call, beside `load`: train a recipe, evaluate a run."""

from __future__ import annotations

from addkit.api.evaluating import evaluate
from addkit.api.training import ScoreReport, train

__all__ = ["ScoreReport", "evaluate", "train"]
