"""Where ablations keep what they have trained and scored, so that nothing is done twice.

trained/KEY/          a run, named by what it was trained with
scored/KEY-KEY.json   the scores of a training under one way to answer
NAME-KEY/             an ablation: ablation.json (its arms) and result.json (its table)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addkit.runs import RUNS, Run

ABLATIONS = RUNS / "ablations"


@dataclass(frozen=True, slots=True)
class Store:
    """A folder shared by all ablations."""

    root: Path = ABLATIONS

    def run(self, training: str) -> Run:
        """The training of that key; it may not exist yet."""
        return Run(self.root / "trained" / training)

    def scores_file(self, training: str, answer: str) -> Path:
        """Where the scores of a training under a way to answer lie."""
        return self.root / "scored" / f"{training}-{answer}.json"

    def scores(self, training: str, answer: str) -> dict[str, Any] | None:
        """The stored scores, or None if there are none yet."""
        file = self.scores_file(training, answer)
        if not file.exists():
            return None
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found

    def folder(self, name: str, key: str) -> Path:
        """An ablation's own folder."""
        return self.root / f"{name}-{key[:8]}"
