from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import Field

from addkit.errors import UsageError
from addkit.plugin.config import Config
from addkit.plugin.registry import Registry
from addkit.plugin.spec import ScheduleSpec, hookimpl
from addkit.report import schedule_profiles


class Plain(Config):
    """No scale."""


class Needy(Config):
    """Without a default."""

    speed: float = Field(gt=0)


def _half(config: Config, problem: object) -> SimpleNamespace:
    return SimpleNamespace(scale=3.0, t_power=1.0, alpha_bar=lambda t: 0.5 + 0 * t)


class Plugin:
    @hookimpl
    def addkit_components(self):
        yield ScheduleSpec(name="plain", config=Plain, build=_half, summary="")
        yield ScheduleSpec(name="needy", config=Needy, build=_half, summary="")


@pytest.fixture(autouse=True)
def registry(monkeypatch) -> None:
    found = Registry.of([("a plugin 1.0", Plugin())])
    monkeypatch.setattr(schedule_profiles, "load_registry", lambda: found)


def test_a_plugins_schedule_without_a_scale_is_shown_once() -> None:
    (view,) = schedule_profiles.schedule_profiles(["plain"], [1.0, 2.0], 10)
    assert view.scale == 3.0
    assert view.title == "plain, b = 3: 100 % of training times are informative"


def test_a_schedule_that_needs_settings_is_refused() -> None:
    with pytest.raises(UsageError, match='schedule "needy": speed: Field required'):
        schedule_profiles.schedule_profiles(["needy"], [], 10)
