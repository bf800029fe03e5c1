"""Tasks: targets of a batch, scores of an answer, and predictions for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, Spec, TaskSpec, hookimpl

if TYPE_CHECKING:
    from addkit.tasks.settings import AttributesConfig, CaptioningConfig, ClassificationConfig


def _data_for(wanted: str, choices: Choices) -> Iterable[str]:
    """The data's labels are of the task's kind."""
    data = choices["data"]
    kinds = {"captions", "attributes"} & data.spec.provides or {"classes"}
    if wanted not in kinds:
        yield f'[data] "{data.name}" has {", ".join(kinds)}, and this task needs {wanted}'


def _check_classes(config: ClassificationConfig, choices: Choices) -> Iterable[str]:
    yield from _data_for("classes", choices)


def _check_captions(config: CaptioningConfig, choices: Choices) -> Iterable[str]:
    yield from _data_for("captions", choices)
    yield from _needs_joint(choices)
    tokenizer = choices["tokenizer"]
    if "no-text" in tokenizer.spec.provides:
        yield f'[tokenizer] "{tokenizer.name}" cuts no captions; use "words"'


def _check_attributes(config: AttributesConfig, choices: Choices) -> Iterable[str]:
    yield from _data_for("attributes", choices)
    yield from _needs_joint(choices)


def _needs_joint(choices: Choices) -> Iterable[str]:
    denoiser = choices["denoiser"]
    if "joint" not in denoiser.spec.provides:
        yield f'[denoiser] "{denoiser.name}" sees one label at a time; use "transformer"'


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in tasks."""
    yield TaskSpec(
        name="classification",
        config="addkit.tasks.settings:ClassificationConfig",
        build="addkit.tasks.classification:Classification",
        check=_check_classes,
        summary="One label for each image.",
    )
    yield TaskSpec(
        name="captioning",
        config="addkit.tasks.settings:CaptioningConfig",
        build="addkit.tasks.captioning:Captioning",
        check=_check_captions,
        summary="A caption for each image.",
    )
    yield TaskSpec(
        name="attributes",
        config="addkit.tasks.settings:AttributesConfig",
        build="addkit.tasks.attributes:Attributes",
        check=_check_attributes,
        summary="Several dependent labels for each image.",
    )
