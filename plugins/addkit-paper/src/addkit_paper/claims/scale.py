"""The size of the experiments behind stored results, and that of the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from addkit.recipe.files import shipped
from addkit.runs import Run
from addkit.runs.folder import Environment
from addkit_paper.claims.stored_results import StoredResults

UNKNOWN = "-"
VERSIONS = ("addkit", "torch", "torchvision", "timm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of an experiment; a dash where its files do not have it."""

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


def scales(results: StoredResults) -> dict[str, Scale]:
    """Name -> scale: the ablation, the captioning runs if there are any, and the paper."""
    runs = list(results.base_runs.values())
    by_name = {"classification": _scale(runs, results.ablation.result.seeds)}
    if results.captions:
        runs = [files.run for files in results.captions.values()]
        by_name["captions"] = _scale(runs, list(results.captions))
    return {**by_name, "the paper": PAPER}


def _scale(runs: Sequence[Run], seeds: Sequence[int]) -> Scale:
    seeds_text = ", ".join(map(str, seeds))
    if not runs:
        unknown = dict.fromkeys(("data", "images", "classes", "model", "budget"), UNKNOWN)
        return Scale(**unknown, seeds=seeds_text, versions=UNKNOWN, measured=UNKNOWN)
    # The runs differ in their seeds alone, so that the first has the size of all.
    tables, manifest, facts = runs[0].recipe_tables(), runs[0].manifest(), runs[0].facts()
    parameters = manifest.parameters.get("total")
    count = UNKNOWN if parameters is None else f"{parameters:,}"
    training = tables.get("training", {})
    epochs = runs[0].epochs or UNKNOWN
    batch = manifest.plan.get("global_batch", training.get("batch_size", UNKNOWN))
    device = manifest.environment.device or UNKNOWN
    return Scale(
        data=_component(tables, "data"),
        images=", ".join(f"{size:,} {split}" for split, size in facts.split_sizes.items()),
        classes=f"{facts.num_classes:,}",
        model=f"{_component(tables, 'encoder')} encoder, {count} parameters",
        budget=f"{epochs} epochs, batch {batch}, {device}",
        seeds=seeds_text,
        versions=_versions(manifest.environment),
        # The last day: runs of one experiment may be trained on several.
        measured=max((run.manifest().finished or UNKNOWN)[:10] for run in runs),
    )


def _component(tables: Mapping[str, Any], table: str) -> str:
    return str(tables.get(table, {}).get("name", UNKNOWN))


def _versions(environment: Environment) -> str:
    packages = environment.packages
    versions = [f"{name} {packages[name]}" for name in VERSIONS if packages.get(name)]
    return ", ".join([*versions, f"Python {environment.python or UNKNOWN}"])


def command_names(results: StoredResults) -> dict[str, str]:
    """Return the values of {ablation}, {seeds} and {captions} in `Claim.repeat`."""
    ablation = results.ablation.result
    tables = next(iter(results.captions.values())).tables if results.captions else {}
    return {
        "ablation": _recipe_file(ablation.recipe),
        "seeds": str(len(ablation.seeds)),
        "captions": _recipe_file(str(tables.get("name", "emoji"))),
    }


def _recipe_file(name: str) -> str:
    # Results store a recipe's name alone; only the files of shipped recipes are known.
    file = shipped(name)
    return f"recipes/{file.name}" if file.is_file() else f"RECIPE ({name})"
