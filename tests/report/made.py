"""Run and ablation folders that hold files alone, as trainings would have written them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from addkit.ablation import AblationResult
from addkit.ablation.results import ArmRow, BaseRow, spread

RECIPE = """name = "made"
summary = "A <made> run."
seed = {seed}
[task]
name = "{task}"
[process]
name = "gaussian"
[loss]
name = "{loss}"
[training]
epochs = {epochs}
[sampling]
steps = {steps}
"""


def made_run(path: Path, **given: Any) -> Path:
    """A finished run of four epochs, ten steps each; keywords change what its files say."""
    how = {"seed": 0, "task": "classification", "loss": "ce", "epochs": 4, "steps": 20, **given}
    split, score, value = (
        how.get("split", "test"),
        how.get("score", "top1"),
        how.get("value", 80.0),
    )
    path.mkdir(parents=True)
    (path / "recipe.toml").write_text(RECIPE.format(**how))
    lines: list[dict[str, Any]] = []
    for epoch in range(1, how["epochs"] + 1):
        steps = range(10 * epoch - 9, 10 * epoch + 1)
        lines += [{"step": step, "loss": 10.0 / step, "accuracy": 1.0} for step in steps]
        if epoch < how["epochs"]:
            scored = {score: value - how["epochs"] + epoch, "count": 50}
            lines.append({"step": 10 * epoch, "epoch": epoch, "split": split, **scored})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = {
        "status": "finished",
        "headline": score,
        "plan": {"steps": 40, "epochs": how["epochs"]},
        "parameters": {"total": 1234},
        "scores": {"ema": {score: value, "nll": 0.5, "count": 100}},
        "environment": {"python": "3.11", "packages": {"torch": "2.11"}},
    }
    if path.parent.name != "controls":
        manifest["model_name"] = "ADD"
    (path / "manifest.json").write_text(json.dumps(manifest))
    facts = {
        "num_classes": 3, "class_names": ["a", "b", "c"], "image_size": 4, "image_channels": 1,
        "mean": [0.5], "std": [0.5], "shorter_side": 4, "split_sizes": {"train": 9, "test": 9},
    }  # fmt: skip
    (path / "facts.json").write_text(json.dumps(facts))
    return path


def row(steps: int, value: float, **given: Any) -> dict[str, Any]:
    """A result of `addkit evaluate`."""
    setting = {"guidance": 1.0, "to_one": "argmax", "sampler": "renoise", "read_out": "last"}
    setting |= {"steps": steps, "chains": 1, "early_exit": 0}
    values = {"top1": value, "count": 100, "never_predicted": []}
    return {"model_name": "ADD", **setting, **values, **given}


def evaluated(path: Path, results: list[dict[str, Any]], **given: Any) -> None:
    """Write evaluation.json."""
    fields = {"run": "r", "split": "test", "weights": "ema", "results": results, "controls": []}
    fields |= {"audit": None, "table3": None, "clip": None, "uncertainty": None, "early_exit": []}
    fields |= given
    (path / "evaluation.json").write_text(json.dumps(fields))


def uncertainty(*rows: dict[str, Any]) -> dict[str, Any]:
    """What `addkit evaluate --uncertainty` stores; each row changes a complete one."""
    names = ("top1", "ece_low", "ece_high", "nll", "brier", "aurc", "aurc_low", "aurc_high")
    names += ("risk80", "set_size", "set_coverage", "count", "ece")
    row = {**dict.fromkeys(names, 1.0), "temperatures": [], "risk_coverage": []}
    head = {"chains": 2, "steps": 2, "temperature_from": "x", "comparisons": []}
    return {**head, "rows": [{**row, **given} for given in rows]}


def arm(
    changes: Mapping[str, Any],
    values: Sequence[float | None],
    runs: Sequence[str] = (),
    **given: Any,
) -> ArmRow:
    """An arm whose base scored 80."""
    mean, sd = spread(values)
    off = {"difference": None, "low": None, "high": None, "verdict": "failed"}
    if mean is not None:
        off = {"difference": mean - 80, "low": mean - 81, "high": mean - 79, "verdict": "worse"}
    fields = {
        "name": ", ".join(f"{key} = {value}" for key, value in changes.items()),
        "overrides": dict(changes),
        "changes": dict(changes),
        "seeds": list(range(len(values))),
        "metric": "top1",
        "values": list(values),
        "mean": mean,
        "sd": sd,
        "train_runs": len(runs),
        "runs": list(runs),
        **off,
    }
    return ArmRow(**{**fields, **given})


def made_result(
    path: Path,
    arms: Sequence[ArmRow],
    values: Sequence[float | None] = (80.0, 81.0, 82.0),
    runs: Sequence[str] = (),
    **given: Any,
) -> Path:
    """result.json as `addkit ablate` writes it."""
    path.mkdir(parents=True, exist_ok=True)
    mean, sd = spread(values)
    seeds = list(range(len(values)))
    base = BaseRow(
        name="base",
        changes={},
        seeds=seeds,
        metric="top1",
        values=list(values),
        mean=mean,
        sd=sd,
        train_runs=len(runs),
        runs=list(runs),
    )
    fields = {
        "folder": str(path),
        "recipe": "digits",
        "command": "addkit ablate --loss mse odd",
        "metric": "top1",
        "seeds": seeds,
        "shared": [],
        "notes": [],
        "base": base,
        "arms": list(arms),
        "train_runs": 6,
        "trained_now": 6,
        "seconds": 12.0,
    }
    result = AblationResult(**{**fields, **given})
    (path / "result.json").write_text(json.dumps(asdict(result)))
    return path


def made_ablation(path: Path) -> Path:
    """Base and one loss over three seeds, each sampled at other steps, and an arm that failed."""
    base = [str(made_run(path / "runs" / f"base-{seed}", seed=seed, value=80.0 + seed))
            for seed in range(3)]  # fmt: skip
    for seed in range(3):
        made_run(path / "runs" / f"mse-{seed}", seed=seed, loss="mse", value=70.0 + seed)
    mse = [f"{path.name}/runs/mse-{seed}" for seed in range(3)]
    arms = [
        arm({"loss.name": "mse"}, [70.0, 71.0, 72.0], mse),
        arm({"sampling.steps": 1}, [75.0, 76.0, 77.0], base),
        arm({"loss.name": "mse", "sampling.steps": 1}, [60.0, 61.0, 62.0], mse),
        arm({"loss.name": "odd"}, [None, None, None], error="loss is <nan>"),
    ]
    return made_result(path, arms, runs=base)
