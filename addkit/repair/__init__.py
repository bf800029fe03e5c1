"""Repair of recorded labels: which are probably wrong, by the picture and the other labels."""

from addkit.repair.folds import cross_fitted
from addkit.repair.page import write_repair_page
from addkit.repair.records import Record, Records, read_records
from addkit.repair.suspicion import Suspicion, examined, ranked, write_suspicions

__all__ = ["Record", "Records", "Suspicion", "cross_fitted", "examined", "ranked"]
__all__ += ["read_records", "write_repair_page", "write_suspicions"]
