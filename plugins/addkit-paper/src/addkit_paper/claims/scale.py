"""On what, with what and when the stored results were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addkit.recipe.files import shipped
from addkit.runs import Run
from addkit_paper.claims.stored_results import Evidence

UNKNOWN = "-"
VERSIONS = ("addkit", "torch", "torchvision", "timm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of an experiment; a dash for what its files do not say."""

    data: str
    images: str
    classes: str
    model: str
    budget: str
    seeds: str
    versions: str
    measured: str


PAPER = Scale(
    data="ImageNet; COCO captions",
    images="1.28 M, 50,000 for validation; 82,783, 40,504 for validation",
    classes="1,000; 10,112 words",
    model="ViT-B/16, 111 M parameters",
    budget="500 epochs, batch 4,096, eight A100",
    seeds="one, as far as it says",
    versions=UNKNOWN,
    measured="2025",
)


def scales(evidence: Evidence) -> dict[str, Scale]:
    """Of the ablation, of the captions where there are any, and of the paper."""
    result = evidence.ablation.result
    found = {"classification": _scale(list(evidence.base_runs.values()), result.seeds)}
    if evidence.captions:
        runs = [files.run for files in evidence.captions.values()]
        found["captions"] = _scale(runs, list(evidence.captions))
    return {**found, "the paper": PAPER}


def _scale(runs: Sequence[Run], seeds: Sequence[int]) -> Scale:
    told = ", ".join(map(str, seeds))
    if not runs:
        gone = dict.fromkeys(("data", "images", "classes", "model", "budget"), UNKNOWN)
        return Scale(**gone, seeds=told, versions=UNKNOWN, measured=UNKNOWN)
    tables, manifest = runs[0].recipe_tables(), runs[0].manifest()
    facts = runs[0].facts()
    sizes = facts.split_sizes
    return Scale(
        data=_name(tables, "data"),
        images=", ".join(f"{size:,} {split}" for split, size in sizes.items()),
        classes=f"{facts.num_classes:,}",
        model=f"{_name(tables, 'encoder')} encoder, {_parameters(manifest)} parameters",
        budget=_budget(tables, manifest),
        seeds=told,
        versions=_versions(manifest),
        measured=max(str(run.manifest().get("finished", UNKNOWN))[:10] for run in runs),
    )


def _name(tables: Mapping[str, Any], table: str) -> str:
    return str(tables.get(table, {}).get("name", UNKNOWN))


def _parameters(manifest: Mapping[str, Any]) -> str:
    total = manifest.get("parameters", {}).get("total")
    return UNKNOWN if total is None else f"{total:,}"


def _budget(tables: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    training = tables.get("training", {})
    told = f"{training.get('epochs', UNKNOWN)} epochs, batch {training.get('batch_size', UNKNOWN)}"
    return f"{told}, {manifest.get('environment', {}).get('device', UNKNOWN)}"


def _versions(manifest: Mapping[str, Any]) -> str:
    environment = manifest.get("environment", {})
    packages = environment.get("packages", {})
    found = [f"{name} {packages[name]}" for name in VERSIONS if packages.get(name)]
    return ", ".join([*found, f"Python {environment.get('python', UNKNOWN)}"])


def names(evidence: Evidence) -> dict[str, str]:
    """What stands for {ablation}, {seeds} and {captions} in a claim's commands."""
    result = evidence.ablation.result
    tables = next(iter(evidence.captions.values())).tables if evidence.captions else {}
    return {
        "ablation": _recipe(result.recipe),
        "seeds": str(len(result.seeds)),
        "captions": _recipe(str(tables.get("name", "emoji"))),
    }


def _recipe(name: str) -> str:
    """The file of a recipe that comes with addkit; of another one only the name is known."""
    known: Path = shipped(name)
    return f"recipes/{known.name}" if known.is_file() else f"RECIPE ({name})"
