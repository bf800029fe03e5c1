"""Sampling: the loop, the guided network, and what stays the same while chains run."""

from addkit.plugin.values import (
    FREE,
    Answer,
    ChainSettings,
    ChainStep,
    InferenceSettings,
    NoisyLabels,
)
from addkit.sampling.guided import GuidedModel, ModelOutput, guide
from addkit.sampling.loop import Chain, denoise, forced

__all__ = ["FREE", "Answer", "Chain", "ChainSettings", "ChainStep", "GuidedModel"]
__all__ += ["InferenceSettings", "ModelOutput", "NoisyLabels", "denoise", "forced", "guide"]
