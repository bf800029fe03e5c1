"""Caption metrics that need neither Java nor a download.

A caption is text whose words stand between blanks; whoever calls has cut and lower-cased it. Every
score is a share in [0, 1], CIDEr-D alone lies in [0, 10].
"""

from addkit.metrics.captions.bleu import bleu
from addkit.metrics.captions.cider_d import cider_d
from addkit.metrics.captions.coverage import ChainValidity, chain_validity
from addkit.metrics.captions.interval import Interval, mean_interval
from addkit.metrics.captions.meteor import meteor, meteor_available
from addkit.metrics.captions.pairs import leave_one_out
from addkit.metrics.captions.rouge_l import rouge_l
from addkit.metrics.captions.scores import CaptionScores, score_captions
from addkit.metrics.captions.shares import distinct, exact_matches, length_matches, repeats

__all__ = [
    "CaptionScores",
    "ChainValidity",
    "Interval",
    "bleu",
    "chain_validity",
    "cider_d",
    "distinct",
    "exact_matches",
    "leave_one_out",
    "length_matches",
    "mean_interval",
    "meteor",
    "meteor_available",
    "repeats",
    "rouge_l",
    "score_captions",
]
