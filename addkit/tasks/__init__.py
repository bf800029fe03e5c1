"""Tasks: what a batch means, how an answer is scored and how it is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from addkit.plugin.spec import Choices, Config, Spec, TaskSpec, hookimpl

__all__ = ["AttributesConfig", "CaptioningConfig", "ClassificationConfig"]


class ClassificationConfig(Config):
    """One label for each image (N = 1)."""


class CaptioningConfig(Config):
    """A caption of up to N tokens."""

    pad: Literal["diffuse", "mask"] = Field(
        "diffuse",
        description="Pads are diffused like words, and a caption ends at the first; or the network "
        "does not see them, and a length is given or predicted.",
    )
    pad_weight: float = Field(
        0.2, ge=0, description="Of the loss of pads behind the end, where they are diffused."
    )
    length_candidates: int = Field(
        3, ge=1, description="Most probable lengths that several chains try, where pads are masked."
    )


class AttributesConfig(Config):
    """Several dependent labels, each with its own classes."""


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
    if choices["tokenizer"].name == "none":
        yield '[tokenizer] "none" cuts no captions; use "words"'


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
        config=ClassificationConfig,
        build="addkit.tasks.classification:Classification",
        check=_check_classes,
        summary="One label for each image.",
    )
    yield TaskSpec(
        name="captioning",
        config=CaptioningConfig,
        build="addkit.tasks.captioning:Captioning",
        check=_check_captions,
        summary="A caption for each image.",
    )
    yield TaskSpec(
        name="attributes",
        config=AttributesConfig,
        build="addkit.tasks.attributes:Attributes",
        check=_check_attributes,
        summary="Several dependent labels for each image.",
    )
