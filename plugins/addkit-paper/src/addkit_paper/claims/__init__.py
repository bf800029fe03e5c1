"""What the paper claims, beside what is stored of it: `addkit claims`."""

from __future__ import annotations

from addkit_paper.claims.claim import Claim, Comparison, Finding, Measured, Verdict
from addkit_paper.claims.page import Judgement, check_page, judge, page_text, write_page
from addkit_paper.claims.paper_claims import CLAIMS
from addkit_paper.claims.stored_results import Evidence, newest_ablation, open_evidence

__all__ = [
    "CLAIMS",
    "Claim",
    "Comparison",
    "Evidence",
    "Finding",
    "Judgement",
    "Measured",
    "Verdict",
    "check_page",
    "judge",
    "newest_ablation",
    "open_evidence",
    "page_text",
    "write_page",
]
