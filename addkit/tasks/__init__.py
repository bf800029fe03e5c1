"""Tasks: targets of a batch, scores of an answer, and predictions for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from addkit.plugin.spec import Choices, TaskSpec, components

Labels = Literal["classes", "captions", "attributes", "tags"]


def _check(labels: Labels) -> Callable[..., Iterable[str]]:
    """The recipe check of a task that needs data with these labels."""

    def check(config: object, choices: Choices) -> Iterable[str]:
        data, denoiser = choices["data"], choices["denoiser"]
        # Data sets of single labels are the usual case and declare no ability.
        kinds = {"captions", "attributes", "tags"} & data.spec.provides or {"classes"}
        if labels not in kinds:
            yield f'[data] "{data.name}" has {", ".join(kinds)}, and this task needs {labels}'
        if labels == "classes":
            return
        for kind, key in (("data", "sampling"), ("loss", "class_weights")):
            if getattr(choices[kind].config, key, None) not in (None, "uniform", "none", 0):
                yield f"[{kind}] {key} balances the classes of a single label; leave it out"
        # Dependent labels need attention between them: without it the loop learns N marginals.
        if "joint" not in denoiser.spec.provides:
            yield f'[denoiser] "{denoiser.name}" sees one label at a time; use "transformer"'
        tokenizer = choices["tokenizer"]
        if labels == "captions" and "no-text" in tokenizer.spec.provides:
            yield f'[tokenizer] "{tokenizer.name}" cuts no captions; use "words"'

    return check


addkit_components = components(
    TaskSpec(
        "classification",
        ".settings:ClassificationConfig",
        ".classification:Classification",
        "One label for each image.",
        check=_check("classes"),
    ),
    TaskSpec(
        "captioning",
        ".settings:CaptioningConfig",
        ".captioning:Captioning",
        "A caption for each image.",
        check=_check("captions"),
    ),
    TaskSpec(
        "attributes",
        ".settings:AttributesConfig",
        ".attributes:Attributes",
        "Several dependent labels for each image.",
        check=_check("attributes"),
    ),
    TaskSpec(
        "tags",
        ".settings:TagsConfig",
        ".tags:Tags",
        "Which of several tags each image has.",
        check=_check("tags"),
    ),
)
