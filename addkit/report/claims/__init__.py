"""What the paper claims, beside what is stored of it: `addkit claims`."""

from __future__ import annotations

from addkit.report.claims.claim import Claim, Comparison, Finding, Measured, Verdict
from addkit.report.claims.evidence import Evidence, newest_ablation, open_evidence
from addkit.report.claims.page import Judgement, check_page, judge, page_text, write_page
from addkit.report.claims.paper import CLAIMS

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
