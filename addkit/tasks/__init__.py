"""Tasks: what a batch means, how an answer is scored and how it is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Config, Problem, Spec, TaskSpec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Task

__all__ = ["ClassificationConfig"]


class ClassificationConfig(Config):
    """One label for each image (N = 1)."""


def _classification(config: ClassificationConfig, problem: Problem) -> Task:
    from addkit.tasks.classification import Classification

    return Classification(problem)


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in tasks."""
    yield TaskSpec(
        name="classification",
        config=ClassificationConfig,
        build=_classification,
        summary="One label for each image.",
    )
