"""Caption metrics that need neither Java nor a download.

A caption is text with blanks between its words; the caller has tokenized and lower-cased it.
Scores lie in [0, 1], except CIDEr-D in [0, 10].
"""

from addkit.metrics.captions.coco import bleu, cider_d, leave_one_out, rouge_l
from addkit.metrics.captions.meteor import meteor, meteor_available
from addkit.metrics.captions.scores import (
    CaptionScores,
    ChainValidity,
    chain_validity,
    distinct,
    exact_matches,
    length_matches,
    repeats,
    score_captions,
)

__all__ = ["CaptionScores", "ChainValidity", "bleu", "chain_validity", "cider_d", "distinct"]
__all__ += ["exact_matches", "leave_one_out", "length_matches", "meteor", "meteor_available"]
__all__ += ["repeats", "rouge_l", "score_captions"]
