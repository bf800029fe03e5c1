"""Trainings and scores that ablations share, so that nothing is computed twice. No torch.

trained/KEY/          a run, named by the key of what it was trained with
scored/KEY-KEY.json   the scores of one training under one inference setting
NAME-KEY/             an ablation's folder, with its result.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from addkit.plugin.registry import third_parties
from addkit.recipe import Recipe
from addkit.runs import RUNS, Run
from addkit.runs.atomic import write_json
from addkit.runs.stored import read_typed
from addkit.version import __version__

ABLATIONS = RUNS / "ablations"

INFERENCE_TABLES = ("to_one", "sampler", "read_out", "sampling")
"""Tables that change the answers of a trained network and not its training."""
NEUTRAL_TABLES = ("name", "summary", "control", "ablation", "checkpoints", "tracker")
"""Entries that change neither the weights nor the answers."""


def training_key(recipe: Recipe) -> str:
    """Equal for recipes that train the same network with this version of addkit."""
    excluded = {*INFERENCE_TABLES, *NEUTRAL_TABLES}
    return _key_of({k: v for k, v in recipe.tables().items() if k not in excluded}, recipe)


def inference_key(recipe: Recipe) -> str:
    """Equal for recipes with the same inference settings."""
    return _key_of(inference_tables(recipe), recipe)


def inference_tables(recipe: Recipe) -> dict[str, Any]:
    """The tables of a recipe that set its inference."""
    return {key: value for key, value in recipe.tables().items() if key in INFERENCE_TABLES}


def _key_of(tables: Mapping[str, Any], recipe: Recipe) -> str:
    """A fingerprint of the tables and of the plugins' code behind their components.

    The code of a plugin may change while the recipe that names it stays the same.
    """
    # Only the plugins behind these tables: another sampler must not retrain a network.
    names = {kind: choice.name for kind, choice in recipe.choices.items() if kind in tables}
    plugins = third_parties(names)
    return fingerprint({**tables, "plugins": plugins} if plugins else tables)


def fingerprint(value: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the value's content, whatever the order of its keys."""
    # The version too: another one may train another network from the same recipe.
    text = json.dumps({"addkit": __version__, **value}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScores:
    """Scores of one training under one inference setting, on the test split."""

    headline: str
    """Name of the task's own score."""
    steps: int
    """Sampling steps, chosen on the validation split where the recipe has `auto`."""
    scores: dict[str, float | None]

    def write(self, file: Path) -> None:
        """Store them; a reader sees the whole file or none."""
        write_json(file, asdict(self))


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of trainings and scores that all ablations share."""

    root: Path = ABLATIONS

    def run(self, training: str) -> Run:
        """The training of that key; it may not exist yet."""
        return Run(self.root / "trained" / training)

    def scores_file(self, training: str, inference: str) -> Path:
        """The file for the scores of a training under an inference setting."""
        return self.root / "scored" / f"{training}-{inference}.json"

    def scores(self, training: str, inference: str) -> StoredScores | None:
        """The stored scores; None before they are computed."""
        file = self.scores_file(training, inference)
        return read_typed(file, StoredScores) if file.exists() else None

    def folder(self, name: str, key: str) -> Path:
        """The folder of one ablation."""
        # Eight digits distinguish the ablations of one recipe.
        return self.root / f"{name}-{key[:8]}"
