"""A Spec builds from an import path, a class or a function; what does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from addkit.errors import PluginError
from addkit.plugin import Config, Problem, ScheduleSpec, load_registry
from addkit.plugin.spec import Spec


class StepConfig(Config):
    edge: float = Field(0.5, description="Where alpha_bar falls.")


class Step:
    def __init__(self, edge: float, num_classes: int, other: int = 3) -> None:
        self.values = (edge, num_classes, other)


class Whole:
    def __init__(self, config: StepConfig, problem: Problem) -> None:
        self.values = (config.edge, problem.num_classes, 3)


def _spec(build: Any, config: Any = StepConfig) -> ScheduleSpec[Any]:
    return ScheduleSpec(name="step", config=config, build=build, summary="A step.")


@pytest.mark.parametrize("build", [Step, Whole, lambda config, problem: Whole(config, problem)])
def test_settings_and_facts_go_by_name(build: Any) -> None:
    built: Any = _spec(build).create(StepConfig(edge=0.3), Problem(num_classes=7))
    assert built.values == (0.3, 7, 3)


def test_paths_are_imported() -> None:
    spec = _spec(
        "addkit.schedules.closed_form:CosineSchedule", "addkit.schedules.settings:CosineConfig"
    )
    assert spec.settings.__name__ == "CosineConfig"
    assert spec.create(spec.settings(), Problem()).scale == 1.0


class Deaf:
    def __init__(self, egde: float = 0.5) -> None: ...


class Demanding:
    def __init__(self, edge: float, num_clases: int) -> None: ...


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (Deaf, ("'edge'", '"egde"')),
        (Demanding, ("'num_clases'", '"num_classes"')),
        ("addkit.schedules.closed_form:CosineShedule", ("CosineShedule", '"CosineSchedule"')),
        ("addkit.schedules.nowhere:X", ("addkit.schedules.nowhere",)),
    ],
)
def test_what_does_not_fit_is_named_with_the_nearest(build: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(PluginError) as caught:
        _spec(build).checked_build()
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize(
    "spec",
    [provided.spec for provided in load_registry().components.values()],
    ids=lambda spec: f"{spec.kind}-{spec.name}",
)
def test_every_built_in_fits_its_settings(spec: Spec[Any, Any]) -> None:
    spec.checked_build()
