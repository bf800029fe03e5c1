"""Run folders. Torch-free but for `addkit.runs.checkpoint`."""

from addkit.runs.folder import RUNS, Run, newest_run

__all__ = ["RUNS", "Run", "newest_run"]
