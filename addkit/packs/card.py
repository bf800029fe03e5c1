"""The model card of a pack: its answers, scores and known faults, and how to load or export it."""

from __future__ import annotations

from addkit.evaluation.results import Score, Scores, legend, never_predicted_line, present
from addkit.export.run import script_text
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.runs.packs import PackManifest
from addkit.terminal import printable
from addkit.version import __version__

ACCURACIES = ("top1", "exact_match")
"""Scores that a hub calls accuracy."""
CLASSES_SHOWN = 40


def card(recipe: Recipe, facts: DataFacts, manifest: PackManifest, licence: str) -> str:
    """The card as Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        recipe: of the run, before it was made portable.
        facts: of its data.
        manifest: of the pack.
        licence: of the weights, such as `apache-2.0`.
    """
    # Imported here: it takes 0.5 s.
    from huggingface_hub import EvalResult, ModelCardData

    task = "image-to-text" if facts.pad is not None else "image-classification"
    scores = manifest.scores.get(manifest.weights, {})
    data = recipe.choices["data"].name
    results = [
        EvalResult(
            task_type=task,
            dataset_type=data,
            dataset_name=data,
            dataset_split="test",
            metric_type="accuracy" if name in ACCURACIES else name,
            metric_name=Score.named(name).heading,
            metric_value=float(Score.named(name).text(value)),
        )
        for name, value in scores.items()
        if isinstance(value, float)
    ]
    matter = ModelCardData(
        license=licence,
        library_name="addkit",
        pipeline_tag=task,
        tags=["addkit", "label-diffusion", *(["multi-label"] if facts.token_names else [])],
        model_name=recipe.name if results else None,
        eval_results=results or None,
    )
    faults = "\n".join(f"- {fault}" for fault in _faults(manifest))
    return f"""---
{matter.to_yaml()}
---

# {recipe.name}

{_summary(facts, manifest)}

## Scores

{_scores(manifest)}

## Known faults

{faults}

## How to load it

{_loading(manifest)}

## Without addkit

`addkit export NAME.zip -o NAME.onnx` writes one ONNX file and this program as `NAME.py`; \
it is refused where an answer draws random numbers.
The program needs onnxruntime, numpy and pillow alone: `python NAME.py image.jpg`.

```python
{script_text().rstrip()}
```

## How it was made

{_origin(recipe, manifest)}
"""


def _summary(facts: DataFacts, manifest: PackManifest) -> str:
    named = facts.class_names or tuple(map(str, range(facts.num_classes)))
    names = [printable(name).replace("|", "\\|") for name in named]
    listed = ", ".join(names[:CLASSES_SHOWN]) + (", ..." if names[CLASSES_SHOWN:] else "")
    if facts.pad is not None:
        answer = f"writes a caption of at most {facts.num_tokens} tokens; K = {facts.num_classes}"
    elif facts.token_names:
        parts = zip(facts.token_names, facts.token_classes, strict=True)
        values = (f"{name} ({', '.join(names[slice(*ids)][:8])})" for name, ids in parts)
        answer = f"gives {facts.num_tokens} dependent labels of a picture: {'; '.join(values)}"
    else:
        answer = f"gives one of {facts.num_classes} labels to a picture: {listed}"
    colours = {1: "grey", 3: "RGB"}.get(facts.image_channels, f"{facts.image_channels} channels")
    return (
        f"{manifest.model_name}, a model of addkit, {answer}.\n"
        f"It reads pictures of {facts.image_size} x {facts.image_size} pixels ({colours}); "
        "addkit resizes and normalises what it is given."
    )


def _scores(manifest: PackManifest) -> str:
    """A row for the model and for each matched control, with intervals of shares of images."""
    own = manifest.scores.get(manifest.weights, {})
    if not own:
        return "These weights have not been scored: they are not those of the end of a training."
    models: dict[str, Scores] = {str(manifest.model_name): own, **manifest.controls}
    columns = present(models.values())
    rows = [["model", *(score.heading for score in columns)], ["---"] * (1 + len(columns))]
    for name, scores in models.items():
        count = scores.get("count")
        cells = [name]
        for score in columns:
            value = scores.get(score.name)
            interval = score.interval(value, int(count) if count else None)
            ends = f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
            cells.append(score.text(value) + ends)
        rows.append(cells)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    kind = {"ema": "averaged", "raw": "raw"}[manifest.weights]
    note = (
        f"Test split, {kind} weights, one training with seed {manifest.seed}; in brackets 95 % "
        "intervals over images, which do not cover other seeds.\n"
        "A control is the same encoder under another head, trained alike. "
        "NLL, Brier and ECE measure how well probabilities fit; less is better."
    )
    meanings = legend(columns)
    return f"{table}\n\n{note}" + (f"\n{meanings}." if meanings else "")


def _faults(manifest: PackManifest) -> list[str]:
    """What a user must expect to be wrong."""
    faults = []
    if manifest.never_predicted:
        line = never_predicted_line(str(manifest.model_name), "test", manifest.never_predicted)
        faults.append(f"{line}.")
    headline = Score.named(manifest.headline or "top1")
    own = manifest.scores.get(manifest.weights, {}).get(headline.name)
    for name, scores in manifest.controls.items():
        other = scores.get(headline.name)
        if headline.over_images and own is not None and other is not None and other > own:
            faults.append(
                f"The {name} is better here: {headline.heading} {headline.text(other)} against "
                f"{headline.text(own)}."
            )
    return [
        *faults,
        "Every picture gets an answer, also one that shows nothing of the kind; probabilities are "
        "calibrated, if at all, for pictures like those of the training.",
        "It has been tested on the test split alone: neither on other cameras nor for fairness.",
    ]


def _loading(manifest: PackManifest) -> str:
    needed = "".join(f"- `{plugin}`\n" for plugin in manifest.plugins)
    plugins = f"\n\nIt needs plugins, which are not part of it:\n\n{needed}" if needed else ""
    return f"""```python
import addkit

model = addkit.load("NAME.zip")  # or hf://ORG/NAME
for prediction in model.predict(["image.jpg"]):
    print(prediction)
```

On the command line `addkit sample --run NAME.zip image.jpg`.{plugins.rstrip()}"""


def _origin(recipe: Recipe, manifest: PackManifest) -> str:
    first = [
        f"{kind} {choice.name} from pretrained weights"
        for kind, choice in recipe.choices.items()
        if choice.config != choice.config.from_scratch()
    ]
    packages = manifest.environment.packages.items()
    versions = ", ".join(f"{name} {version}" for name, version in packages if version)
    lines = [
        f"recipe `{recipe.name}`, the whole of it in `recipe.toml`",
        f"data set `{recipe.choices['data'].name}`",
        f"begins with: {'; '.join(first) or 'random weights'}",
        f"{manifest.parameters.get('total', 0):,} parameters, {manifest.steps or 0:,} steps",
        f"trained with {versions or 'unknown versions'}; packed by addkit {__version__}",
    ]
    return "\n".join(f"- {line}" for line in lines)
