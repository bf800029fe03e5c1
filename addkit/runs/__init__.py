"""Run folders, checkpoints and locks. No torch, except in `checkpoint` and `staging`."""

from addkit.runs.folder import RUNS, Run, newest_run

__all__ = ["RUNS", "Run", "newest_run"]
