"""The paper's claims, tested on stored results: `addkit claims`."""

from __future__ import annotations

from addkit_paper.claims.claim import AssessedClaim, Claim, Comparison, Verdict
from addkit_paper.claims.page import Assessment, assess, check_page, page_text, write_page
from addkit_paper.claims.paper_claims import CLAIMS
from addkit_paper.claims.stored_results import StoredResults, newest_ablation, open_results

__all__ = [
    "CLAIMS",
    "Claim",
    "Comparison",
    "StoredResults",
    "AssessedClaim",
    "Assessment",
    "Verdict",
    "check_page",
    "newest_ablation",
    "open_results",
    "page_text",
    "assess",
    "write_page",
]
