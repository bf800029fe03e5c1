"""CLIP score of captions, by open_clip with any of its models, a weight file or a folder."""

from addkit.metrics.clip.loading import (
    CONFIG_FILE,
    ClipFile,
    ClipFolder,
    ClipSource,
    ClipTag,
    parse_clip,
)
from addkit.metrics.clip.scorer import PREFIX, ClipDescription, ClipScorer, ClipScores, clip_scores

__all__ = ["CONFIG_FILE", "PREFIX", "ClipDescription", "ClipFile", "ClipFolder", "ClipScorer"]
__all__ += ["ClipScores", "ClipSource", "ClipTag", "clip_scores", "parse_clip"]
