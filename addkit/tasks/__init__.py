"""Tasks: targets of a batch, scores of an answer, and predictions for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from addkit.plugin.spec import Choices, Spec, TaskSpec, hookimpl


def _check(labels: Literal["classes", "captions", "attributes"]) -> Callable[..., Iterable[str]]:
    """The recipe check of a task that needs data with these labels."""

    def check(config: object, choices: Choices) -> Iterable[str]:
        data, denoiser = choices["data"], choices["denoiser"]
        # Data sets of single labels are the usual case and declare no ability.
        kinds = {"captions", "attributes"} & data.spec.provides or {"classes"}
        if labels not in kinds:
            yield f'[data] "{data.name}" has {", ".join(kinds)}, and this task needs {labels}'
        if labels == "classes":
            return
        # Dependent labels need attention between them: without it the loop learns N marginals.
        if "joint" not in denoiser.spec.provides:
            yield f'[denoiser] "{denoiser.name}" sees one label at a time; use "transformer"'
        tokenizer = choices["tokenizer"]
        if labels == "captions" and "no-text" in tokenizer.spec.provides:
            yield f'[tokenizer] "{tokenizer.name}" cuts no captions; use "words"'

    return check


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in tasks."""
    yield TaskSpec(
        name="classification",
        config="addkit.tasks.settings:ClassificationConfig",
        build="addkit.tasks.classification:Classification",
        check=_check("classes"),
        summary="One label for each image.",
    )
    yield TaskSpec(
        name="captioning",
        config="addkit.tasks.settings:CaptioningConfig",
        build="addkit.tasks.captioning:Captioning",
        check=_check("captions"),
        summary="A caption for each image.",
    )
    yield TaskSpec(
        name="attributes",
        config="addkit.tasks.settings:AttributesConfig",
        build="addkit.tasks.attributes:Attributes",
        check=_check("attributes"),
        summary="Several dependent labels for each image.",
    )
